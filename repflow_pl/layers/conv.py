"""Convolutions of the flow layer: without bias, at the input's resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without bias; on a CPU, a product of matrices.

    There a convolution of so few channels is slow: of 6 to 3 channels at 64 x 64, ten times as slow
    as the product and slower than the flow itself (torch 2.14, two cores).

    Shapes: [N, C, H, W] -> [N, C', H, W].
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # float64 is for comparisons: there the rounding is that of the released convolution, since
        # flow may amplify it 1e7 times.
        if x.device.type != "cpu" or x.dtype == torch.float64:
            return super().forward(x)
        weight = self.weight.flatten(1)
        # Channels last, as the backbones have it: ReLU and batch norm are slow where layouts meet,
        # but also on fewer channels than a vector register takes.
        if self.out_channels < 8:
            out = torch.bmm(weight.expand(x.shape[0], -1, -1), x.flatten(2))
        else:
            pixels = x.flatten(2).transpose(1, 2)
            out = torch.bmm(pixels, weight.t().expand(x.shape[0], -1, -1)).transpose(1, 2)
        grid: Tensor = out.unflatten(2, x.shape[2:])
        return grid


def conv(channels_in: int, channels_out: int, size: int = 1) -> nn.Conv2d:
    """A size x size convolution without bias that keeps the resolution."""
    if size == 1:
        return Pointwise(channels_in, channels_out)
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=False)
