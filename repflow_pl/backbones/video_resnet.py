"""3D and (2+1)D ResNets: torchvision's, with non-local blocks, and narrow ones."""

from __future__ import annotations

from collections.abc import Callable

import torchvision.models.video
from torch import nn
from torchvision.models.video import R2Plus1D_18_Weights, R3D_18_Weights
from torchvision.models.video.resnet import (
    BasicBlock,
    Bottleneck,
    Conv2Plus1D,
    R2Plus1dStem,
    VideoResNet,
)

from repflow_pl.backbones.nonlocal_block import with_nonlocal
from repflow_pl.backbones.registry import Backbone, Block, backbone, initialise


@backbone("r3d_18", weights=R3D_18_Weights.KINETICS400_V1)
def r3d_18(in_channels: int) -> Backbone:
    """R3D-18 of Tran et al., "A Closer Look at Spatiotemporal Convolutions" (CVPR 2018)."""
    return _cut("r3d_18", torchvision.models.video.r3d_18(), in_channels)


@backbone("r2plus1d_18", weights=R2Plus1D_18_Weights.KINETICS400_V1)
def r2plus1d_18(in_channels: int) -> Backbone:
    """R(2+1)D-18 of Tran et al. (CVPR 2018), as in torchvision.

    Which is 6 % smaller than published: in each block it gives the second convolution as few
    channels between space and time as the first.
    """
    return _cut("r2plus1d_18", torchvision.models.video.r2plus1d_18(), in_channels)


@backbone("r2plus1d_34")
def r2plus1d_34(in_channels: int) -> Backbone:
    """R(2+1)D-34 of Tran et al. (CVPR 2018), Section 3.5, with all its channels."""
    return _cut("r2plus1d_34", _r2plus1d_34(), in_channels)


@backbone("r2plus1d_18_nonlocal", weights=R2Plus1D_18_Weights.KINETICS400_V1)
def r2plus1d_18_nonlocal(in_channels: int) -> Backbone:
    """R(2+1)D-18 with a non-local block behind every other block of `layer2` and `layer3`."""
    net = torchvision.models.video.r2plus1d_18()
    return _cut("r2plus1d_18_nonlocal", _add_nonlocal(net), in_channels)


@backbone("r2plus1d_34_nonlocal")
def r2plus1d_34_nonlocal(in_channels: int) -> Backbone:
    """R(2+1)D-34 with 5 non-local blocks, where Wang et al. (CVPR 2018) put theirs."""
    return _cut("r2plus1d_34_nonlocal", _add_nonlocal(_r2plus1d_34()), in_channels)


@backbone("narrow3d")
def narrow3d(in_channels: int) -> Backbone:
    """`narrow` with 3 x 3 x 3 convolutions; it strides in time where the flow is behind it."""
    return _narrow("narrow3d", in_channels, conv_3d)


@backbone("narrow2plus1d")
def narrow2plus1d(in_channels: int) -> Backbone:
    """`narrow` with each 3 x 3 x 3 convolution in two, space and then time."""
    return _narrow("narrow2plus1d", in_channels, conv_2plus1d)


@backbone("narrow2plus1d_nonlocal")
def narrow2plus1d_nonlocal(in_channels: int) -> Backbone:
    """`narrow2plus1d` with a non-local block behind `layer2` and `layer3`."""
    net = _narrow("narrow2plus1d_nonlocal", in_channels, conv_2plus1d)
    for block in (3, 4):
        stage = nn.Sequential(net.stages[block - 1])
        net.stages[block - 1] = with_nonlocal(stage, net.block(block).channels, every=1)
    return net


def conv_3d(
    channels_in: int, channels: int, between: int, stride: tuple[int, int] = (1, 1), side: int = 3
) -> nn.Module:
    """3 x side x side; stride is (time, space), and nothing is in between."""
    (time, space), pad = stride, side // 2
    kernel, strides, padding = (3, side, side), (time, space, space), (1, pad, pad)
    return nn.Conv3d(channels_in, channels, kernel, strides, padding, bias=False)


def conv_2plus1d(
    channels_in: int, channels: int, between: int, stride: tuple[int, int] = (1, 1), side: int = 3
) -> nn.Module:
    """1 x side x side to `between` channels, then 3 x 1 x 1; stride is (time, space)."""
    (time, space), pad = stride, side // 2
    kernel, strides, padding = (1, side, side), (1, space, space), (0, pad, pad)
    return nn.Sequential(
        nn.Conv3d(channels_in, between, kernel, strides, padding, bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        nn.Conv3d(between, channels, (3, 1, 1), (time, 1, 1), (1, 0, 0), bias=False),
    )


def _narrow(name: str, in_channels: int, conv: Callable[..., nn.Module]) -> Backbone:
    """Widths and strides in space as `narrow` has them; 8 frames are 8 until block 3."""
    widths, strides = (16, 16, 32, 64, 128), ((1, 2), (1, 1), (2, 2), (2, 2))
    stem = nn.Sequential(
        conv(in_channels, widths[0], widths[0], (1, 2)),
        nn.BatchNorm3d(widths[0]),
        nn.ReLU(inplace=True),
    )
    stages: list[nn.Module] = [stem]
    blocks = [Block("input", in_channels, 1), Block("stem", widths[0], 2)]
    for k, (time, space) in enumerate(strides):
        before = blocks[-1]
        stages.append(residual(BasicBlock, widths[k], widths[k + 1], conv, (time, space)))
        blocks.append(
            Block(f"layer{k + 1}", widths[k + 1], before.stride * space, before.stride_time * time)
        )
    return initialise(Backbone(name, blocks, stages, volumetric=True))


def residual(
    kind: type[BasicBlock] | type[Bottleneck],
    channels_in: int,
    width: int,
    conv: Callable[..., nn.Module],
    stride: tuple[int, int],
) -> nn.Module:
    """A residual block, its shortcut a convolution where sizes differ; stride is (time, space)."""
    channels = width * kind.expansion
    shortcut = None
    if stride != (1, 1) or channels_in != channels:
        time, space = stride
        shortcut = nn.Sequential(
            nn.Conv3d(channels_in, channels, 1, (time, space, space), bias=False),
            nn.BatchNorm3d(channels),
        )
    block: nn.Module = kind(channels_in, width, conv, stride, shortcut)
    return block


def _r2plus1d_34() -> VideoResNet:
    net = VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [3, 4, 6, 3], R2Plus1dStem)
    for layer, channels in ((net.layer2, 128), (net.layer3, 256), (net.layer4, 512)):
        # Tran et al. choose the channels between space and time for each convolution by its own
        # inputs and outputs (Section 3.5); torchvision takes the block's first one's for both.
        between = 3 * 9 * channels * channels // (9 * channels + 3 * channels)
        layer[0].conv2[0] = Conv2Plus1D(channels, channels, between)
        initialise(layer[0].conv2[0])
    return net


def _add_nonlocal(net: VideoResNet) -> VideoResNet:
    net.layer2 = with_nonlocal(net.layer2, 128)
    net.layer3 = with_nonlocal(net.layer3, 256)
    return net


def _cut(name: str, net: VideoResNet, in_channels: int) -> Backbone:
    if in_channels != 3:
        first = net.stem[0]
        net.stem[0] = nn.Conv3d(
            in_channels,
            first.out_channels,
            first.kernel_size,
            first.stride,
            first.padding,
            bias=False,
        )
        initialise(net.stem[0])
    blocks = [Block("input", in_channels, 1), Block("stem", 64, 2)]
    blocks += [Block(f"layer{k + 1}", 64 * 2**k, 2 * 2**k, 2**k) for k in range(4)]
    stages = (net.stem, net.layer1, net.layer2, net.layer3, net.layer4)
    return Backbone(name, blocks, stages, volumetric=True)
