"""3D and (2+1)D ResNets that cost what a 2D one does: as deep, on maps as large, and narrower.

Each 2D convolution becomes one in time as well, as in Tran et al., "A Closer Look at
Spatiotemporal Convolutions for Action Recognition" (CVPR 2018, Section 3): t x d x d in 3D; in
(2+1)D 1 x d x d and then t x 1 x 1, by way of M = floor(t d^2 N' N / (d^2 N' + t N)) channels,
which gives as many weights from N' channels to N. In a block the second convolution takes the M of
the first, as in torchvision; the stem has its own N for M. All channels are scaled by a factor, to
multiples of 4, such that the operations of a clip come within 3 % of the 2D network's: of 8 frames
of 64 pixels for the narrow network, of 16 of 112 for the others. Time is halved where narrow3d
does it, in layer3 and layer4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck

from repflow_pl.backbones.registry import Backbone, Block, backbone, initialise
from repflow_pl.backbones.video_resnet import conv_2plus1d, conv_3d, residual

TIMES = (1, 1, 2, 2)
"""Strides in time of layer1 to layer4."""


@dataclass(frozen=True)
class _Plan:
    """The 2D network."""

    name: str
    widths: tuple[int, int, int, int, int]
    """Of the stem's channels and those within the blocks of each layer."""
    depths: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    """In space, of layer1 to layer4."""
    side: int
    """Of the stem's kernel; the larger one is followed by pooling."""
    block: type[BasicBlock] | type[Bottleneck]
    factor_3d: float
    factor_2plus1d: float


_STANDARD = (64, 64, 128, 256, 512)
_PLANS = (
    _Plan("narrow", (16, 16, 32, 64, 128), (1, 1, 1, 1), (2, 1, 2, 2), 3, BasicBlock, 0.69, 0.72),
    _Plan("resnet18", _STANDARD, (2, 2, 2, 2), (1, 2, 2, 2), 7, BasicBlock, 0.675, 0.715),
    _Plan("resnet34", _STANDARD, (3, 4, 6, 3), (1, 2, 2, 2), 7, BasicBlock, 0.705, 0.715),
    _Plan("resnet50", _STANDARD, (3, 4, 6, 3), (1, 2, 2, 2), 7, Bottleneck, 0.86, 0.8),
)


def _build(
    name: str, plan: _Plan, factor: float, conv: Callable[..., nn.Module], in_channels: int
) -> Backbone:
    first, *inner = (4 * round(factor * width / 4) for width in plan.widths)
    blocks = [Block("input", in_channels, 1), Block("stem", first, 2 if plan.side == 3 else 4)]
    stages: list[nn.Module] = [
        _stem(conv(in_channels, first, first, (1, 2), plan.side), first, plan.side)
    ]
    layers = zip(inner, plan.depths, zip(TIMES, plan.strides, strict=True), strict=True)
    for k, (width, depth, (time, space)) in enumerate(layers):
        before = blocks[-1]
        after = width * plan.block.expansion
        layer = [residual(plan.block, before.channels, width, conv, (time, space))]
        layer += [residual(plan.block, after, width, conv, (1, 1)) for _ in range(depth - 1)]
        stages.append(nn.Sequential(*layer))
        blocks.append(
            Block(f"layer{k + 1}", after, before.stride * space, before.stride_time * time)
        )
    return initialise(Backbone(name, blocks, stages, volumetric=True))


def _stem(conv: nn.Module, channels: int, side: int) -> nn.Sequential:
    """What begins with a convolution, or with the parts of one in two; the larger one is pooled."""
    stem = conv if isinstance(conv, nn.Sequential) else nn.Sequential(conv)
    stem.extend([nn.BatchNorm3d(channels), nn.ReLU(inplace=True)])
    if side > 3:
        stem.append(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))
    return stem


for _plan in _PLANS:
    _name = f"{_plan.name}_equal"
    backbone(f"{_name}3d")(partial(_build, f"{_name}3d", _plan, _plan.factor_3d, conv_3d))
    backbone(f"{_name}2plus1d")(
        partial(_build, f"{_name}2plus1d", _plan, _plan.factor_2plus1d, conv_2plus1d)
    )
