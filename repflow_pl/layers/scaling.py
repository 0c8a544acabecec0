"""Clips scaled to 0..255, the span of pixels that the flow's scalars are meant for."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError
from repflow_pl.layers.frames import applied
from repflow_pl.ops import is_transformed

Normalise = Literal["clip", "batch"]

_ROUNDING = 64
"""Units in the last place by which sums of a few hundred products of one still clip may differ."""


class Range(nn.Module):
    """Values scaled so that one range, the same for all clips, becomes 0..255.

    So a frame is scaled as its clip is, which `to_255` does not do. What lies outside the range
    stays outside of 0..255. A range of still clips alone, whose span is rounding, gives 0.

    Args:
        fixed: the range, whatever a loaded state says. Without it, training scales each clip by its
            own extremes and keeps their running mean, as batch norm keeps its own; evaluation
            scales by what was kept, of several ranks by the first one's.
        momentum: how far one batch moves the running mean.

    Shapes: [B, ...] -> [B, ...], in float32 at least.
    Errors: UserError for a range without extent.
    """

    low: Tensor
    high: Tensor
    batches: Tensor

    def __init__(self, fixed: tuple[float, float] | None = None, momentum: float = 0.1) -> None:
        super().__init__()
        if fixed is not None:
            numbers = len(fixed) == 2 and all(isinstance(end, Real) for end in fixed)
            if not (numbers and -inf < fixed[0] < fixed[1] < inf):
                raise UserError(f"a range goes from a number to a larger one; this is {fixed}.")
        self.fixed, self.momentum = fixed, momentum
        self.register_buffer("low", torch.empty(()))
        self.register_buffer("high", torch.empty(()))
        self.register_buffer("batches", torch.empty((), dtype=torch.long))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The range at first, for instance after `to_empty` from the meta device."""
        low, high = self.fixed or (0.0, 1.0)  # kept in the state in either case
        self.low.fill_(low)
        self.high.fill_(high)
        self.batches.zero_()

    def extra_repr(self) -> str:
        return f"fixed={self.fixed}, momentum={self.momentum}"

    def forward(self, clips: Tensor) -> Tensor:
        exact = clips if clips.dtype == torch.float64 else clips.float()
        if self.fixed is not None:
            start, end = self.fixed
            return (exact - start) * (255 / (end - start))
        if self.training:
            if clips.numel() > 0:
                self._move(clips.detach())
            return to_255(clips)
        low, high = self.low.to(exact.dtype), self.high.to(exact.dtype)
        spread, still = _spread(low, high, 0)
        return (exact - low) * (255 / spread).masked_fill(still, 0)

    def _move(self, clips: Tensor) -> None:
        self.batches += 1
        share = torch.clamp(1 / self.batches, min=self.momentum)  # the first batches in full
        low, high = _extremes(clips.to(self.low.dtype))
        self.low.lerp_(low.mean(), share)
        self.high.lerp_(high.mean(), share)


def to_255(clips: Tensor, over: Normalise = "clip", unit: float = 0) -> Tensor:
    """Clips scaled to a span of 255 by their minimum and maximum, in float32 at least.

    "clip" gives 0..255. "batch" does what the released code does: one pair for the whole batch, and
    -255..0, whose flow is the same but for rounding. What is constant, but for the rounding of the
    convolution in front, becomes 0 and has no gradient: scaled, rounding would pass for motion,
    and its gradient, divided by so small a span, would be that of the whole batch.
    Rounding is told by the largest magnitude, or by `unit` if that is more: flow is made of
    differences, which leave 1e-16 of a pixel in a still clip, so its unit is 1 pixel.
    Shapes: [B, ...] -> [B, ...].
    """
    exact = clips if clips.dtype == torch.float64 else clips.float()
    if exact.numel() == 0:
        return exact
    if over == "batch":
        return _scaled(exact, -255, exact.amin(), exact.amax(), unit)
    if is_transformed(exact):
        return _scaled(exact, 255, *_extremes(exact), unit)
    return applied(_Scaled, exact, unit)


def _scaled(x: Tensor, span: float, low: Tensor, high: Tensor, unit: float) -> Tensor:
    spread, still = _spread(low, high, unit)
    return (span * (x - low) / spread).masked_fill(still, 0)


class _Scaled(torch.autograd.Function):
    """`_scaled` with the extremes of every clip, for reverse mode of any order.

    Autograd alone counts how often each extreme is met in integers of 64 bits, and with that takes
    as long as the flow's forward.
    """

    @staticmethod
    def forward(x: Tensor, unit: float) -> Tensor:
        low, high = _extremes(x)
        spread, still = _spread(low, high, unit)
        scaled = (x - low).div_(spread).mul_(255)  # in place: images are large
        return scaled.masked_fill_(still, 0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        x, ctx.unit = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, scaled = ctx.saved_tensors
        low, high = _extremes(x)
        spread, still = _spread(low, high, ctx.unit)
        grad_x = (255 * grad).div_(spread)
        by_spread = -_total(grad * scaled) / spread
        by_low = -_total(grad_x) - by_spread
        for extreme, gradient in ((low, by_low), (high, by_spread)):
            # Equal shares, as those of amin and amax; in floats, since a comparison into bools and
            # their conversion take six times as long.
            met = x.clone().eq_(extreme)
            grad_x.addcmul_(met, gradient / _total(met))
        return grad_x.masked_fill_(still, 0), None


def _extremes(x: Tensor) -> tuple[Tensor, Tensor]:
    dims = tuple(range(1, x.ndim))
    return x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)


def _spread(low: Tensor, high: Tensor, unit: float) -> tuple[Tensor, Tensor]:
    """The span to divide by, and where it is none but rounding: there it is 1, whose quotient no
    one sees. One that is no number is not still: it is to be seen."""
    rounding = _ROUNDING * torch.finfo(low.dtype).eps
    least = max(unit, torch.finfo(low.dtype).tiny / rounding)
    spread = high - low
    still = spread < torch.maximum(-low, high).clamp_min(least) * rounding
    return spread.masked_fill(still, 1), still  # infinity is not less than itself


def _total(x: Tensor) -> Tensor:
    return x.sum(tuple(range(1, x.ndim)), keepdim=True)
