"""Convolutions of the flow layer: without bias, at the input's resolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from repflow_pl.layers.frames import applied
from repflow_pl.ops import is_transformed


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without bias; on a CPU, a product of matrices.

    There a convolution of so few channels is slow: of 6 to 3 channels at 64 x 64, ten times as slow
    as the product and slower than the flow itself (torch 2.14, two cores). And a product can write
    the layout that is wanted next, so that nothing needs to be turned afterwards.

    Args:
        planes: the output goes to a flow, which wants contiguous planes. Else channels come last,
            as the backbones have it: ReLU and batch norm are slow where layouts meet.

    Shapes: [N, C, H, W] -> [N, C', H, W].
    """

    def __init__(self, channels_in: int, channels_out: int, planes: bool = False) -> None:
        super().__init__(channels_in, channels_out, 1, bias=False)
        # fewer channels than a vector register takes are slow as the last dimension too
        self.channels_last = not planes and channels_out >= 8

    def forward(self, x: Tensor) -> Tensor:
        # float64 is for comparisons: there the rounding is that of the released convolution, since
        # flow may amplify it 1e7 times.
        single = x.dtype == self.weight.dtype == torch.float32
        plain = x.device.type != "cpu" or torch.is_autocast_enabled("cpu")
        plain = plain or self.bias is not None  # of a batch norm that was folded into this
        if plain or not single or is_transformed(x, self.weight):
            return super().forward(x)
        product = applied(_Product, x.flatten(2), self.weight.flatten(1), self.channels_last)
        grid: Tensor = product.unflatten(2, x.shape[2:])
        return grid


class _Product(torch.autograd.Function):
    """[N, C, P] and [C', C] -> [N, C', P], in the layout asked for.

    The gradient of x has the layout of x. Reverse mode only, of any order.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, channels_last: bool) -> Tensor:
        return _product(x, weight, channels_last)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, _ = ctx.needs_input_grad
        grad_x = _product(grad, weight.t(), x.stride(1) == 1) if needs_x else None
        grad_weight = torch.bmm(grad, x.transpose(1, 2)).sum(0) if needs_weight else None
        return grad_x, grad_weight, None


def _product(x: Tensor, weight: Tensor, channels_last: bool) -> Tensor:
    n = x.shape[0]
    if channels_last:
        pixels = torch.bmm(x.transpose(1, 2), weight.t().expand(n, -1, -1))
        return pixels.transpose(1, 2)
    return torch.bmm(weight.expand(n, -1, -1), x)


def conv(channels_in: int, channels_out: int, size: int = 1) -> nn.Conv2d:
    """A size x size convolution without bias that keeps the resolution."""
    if size == 1:
        return Pointwise(channels_in, channels_out)
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=False)
