"""Clips scaled to 0..255, the span of pixels that the flow's scalars are meant for."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Normalise = Literal["clip", "batch"]


def to_255(clips: Tensor, over: Normalise = "clip") -> Tensor:
    """Clips scaled to a span of 255 by their minimum and maximum, in float32 at least.

    "clip" gives 0..255. "batch" does what the released code does: one pair for the whole batch, and
    -255..0, whose flow is the same but for rounding. What is constant becomes 0.
    Shapes: [B, ...] -> [B, ...].
    """
    exact = clips if clips.dtype == torch.float64 else clips.float()
    if exact.numel() == 0:
        return exact
    if over == "batch":
        low, high = exact.amin(), exact.amax()
        return 255 * (exact - low) / -_spread(low, high)
    scaled: Tensor = _Scaled.apply(exact)
    return scaled


class _Scaled(torch.autograd.Function):
    """255 (x - low) / (high - low), with the extremes of every clip.

    Autograd alone counts how often each extreme is met in integers of 64 bits, and with that takes
    as long as the flow's forward.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        low, high = _extremes(x)
        return (x - low).div_(_spread(low, high)).mul_(255)  # in place: images are large

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, scaled = ctx.saved_tensors
        low, high = _extremes(x)
        spread = _spread(low, high)
        grad_x = (255 * grad).div_(spread)
        by_spread = -_total(grad * scaled) / spread
        by_spread = torch.where(high - low == spread, by_spread, 0)  # else it is bounded
        by_low = -_total(grad_x) - by_spread
        for extreme, gradient in ((low, by_low), (high, by_spread)):
            # Equal shares, as those of amin and amax; in floats, since a comparison into bools and
            # their conversion take six times as long.
            met = x.clone().eq_(extreme)
            grad_x.addcmul_(met, gradient / _total(met))
        return grad_x


def _extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    dims = tuple(range(1, x.ndim))
    return x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)


def _spread(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp_min(torch.finfo(low.dtype).tiny)


def _total(x: Tensor) -> Tensor:
    return x.sum(tuple(range(1, x.ndim)), keepdim=True)
