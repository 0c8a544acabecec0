"""Inception-v1 for clips: I3D, S3D, and narrow ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import GoogLeNet_Weights
from torchvision.models.video import S3D_Weights

from repflow_pl.backbones.registry import Backbone, Block, backbone, initialise

Size = tuple[int, int, int]
ConvMaker = Callable[[int, int, int, tuple[int, int]], nn.Module]
"""(channels in, channels, kernel, (stride in time, stride in space)) -> convolution."""

# Szegedy et al., "Going Deeper with Convolutions" (CVPR 2015), Table 1, stages 3 to 5: channels of
# 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection.
_MIXED = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


@backbone("i3d", weights=GoogLeNet_Weights.IMAGENET1K_V1)
def i3d(in_channels: int) -> Backbone:
    """I3D of Carreira and Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017), Figure 3.

    Its weights, where asked for, are those of ImageNet inflated (Section 2.4). Windows of stride 2
    are centred as in torchvision's S3D; TensorFlow's lie one pixel further.
    """
    return _inception("i3d", in_channels, conv_3d)


@backbone("s3d", weights=S3D_Weights.KINETICS400_V1)
def s3d(in_channels: int) -> Backbone:
    """S3D of Xie et al., "Rethinking Spatiotemporal Feature Learning" (ECCV 2018).

    I3D with every 3D convolution split in two, space and then time; without their gating (S3D-G).
    """
    return _inception("s3d", in_channels, conv_separable)


@backbone("i3d_narrow")
def i3d_narrow(in_channels: int) -> Backbone:
    """I3D with an eighth of the channels and 4 of its 9 Inception blocks, for CPUs.

    It strides less, so that block 3 still has 16 x 16 pixels and all frames.
    """
    return _inception("i3d_narrow", in_channels, conv_3d, narrow=True)


@backbone("s3d_narrow")
def s3d_narrow(in_channels: int) -> Backbone:
    """`i3d_narrow` with convolutions split as in S3D."""
    return _inception("s3d_narrow", in_channels, conv_separable, narrow=True)


class Inception(nn.Module):
    """Four branches side by side; a 3 x 3 x 3 kernel stands for the 5 x 5, as in I3D and S3D."""

    def __init__(self, channels_in: int, sizes: tuple[int, ...], conv: ConvMaker) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = sizes
        self.branch0 = _conv(channels_in, one, (1, 1, 1))
        self.branch1 = nn.Sequential(
            _conv(channels_in, reduce3, (1, 1, 1)), conv(reduce3, three, 3, (1, 1))
        )
        self.branch2 = nn.Sequential(
            _conv(channels_in, reduce5, (1, 1, 1)), conv(reduce5, five, 3, (1, 1))
        )
        self.branch3 = nn.Sequential(
            nn.MaxPool3d(3, stride=1, padding=1), _conv(channels_in, pooled, (1, 1, 1))
        )
        self.channels = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


def conv_3d(channels_in: int, channels: int, kernel: int, stride: tuple[int, int]) -> nn.Module:
    """A cubic kernel, batch norm, ReLU."""
    time, space = stride
    return _conv(channels_in, channels, (kernel, kernel, kernel), (time, space, space))


def conv_separable(
    channels_in: int, channels: int, kernel: int, stride: tuple[int, int]
) -> nn.Module:
    """The same in two, each with batch norm and ReLU: 1 x k x k, then k x 1 x 1."""
    time, space = stride
    return nn.Sequential(
        _conv(channels_in, channels, (1, kernel, kernel), (1, space, space)),
        _conv(channels, channels, (kernel, 1, 1), (time, 1, 1)),
    )


class _Conv3d(nn.Conv3d):
    """On a CPU, the weight's gradient of a strided kernel of 7 frames reads and writes beyond its
    memory where a clip has 5 to 7 (oneDNN in torch 2.14). Shorter clips are made 8 frames long,
    with the zeros that are padded anyway, and what they add behind the end is cut off."""

    def forward(self, x: Tensor) -> Tensor:
        frames, kernel, stride = x.shape[2], self.kernel_size[0], self.stride[0]
        if stride == 1 or kernel < 7 or frames > kernel:
            return super().forward(x)
        padded = F.pad(x, (0, 0, 0, 0, 0, kernel + 1 - frames))
        return super().forward(padded)[:, :, : math.ceil(frames / stride)]


def _conv(channels_in: int, channels: int, kernel: Size, stride: Size = (1, 1, 1)) -> nn.Module:
    time, height, width = kernel
    padding = (time // 2, height // 2, width // 2)
    return nn.Sequential(
        _Conv3d(channels_in, channels, kernel, stride, padding, bias=False),
        # torchvision's S3D averages over 1000 steps, which is too slow for a short training.
        nn.BatchNorm3d(channels, eps=1e-3),
        nn.ReLU(inplace=True),
    )


def _pool_space() -> nn.Module:
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


def _inception(name: str, in_channels: int, conv: ConvMaker, narrow: bool = False) -> Backbone:
    fraction = 8 if narrow else 1
    first, second = 64 // fraction, 192 // fraction
    stem_time, stem_space = (1, 2) if narrow else (2, 4)
    stem = nn.Sequential(conv(in_channels, first, 7, (stem_time, 2)))
    if not narrow:
        stem.append(_pool_space())
    stages: list[nn.Module] = [
        stem,
        nn.Sequential(_conv(first, first, (1, 1, 1)), conv(first, second, 3, (1, 1))),
    ]
    blocks = [
        Block("input", in_channels, 1),
        Block("stem", first, stem_space, stem_time),
        Block("conv2", second, stem_space, stem_time),
    ]
    # The last window may reach beyond the clip, as in TensorFlow, so that one frame stays one.
    pools = (_pool_space(), nn.MaxPool3d(3, 2, padding=1), nn.MaxPool3d(2, 2, ceil_mode=True))
    times = (1, 2, 2)
    for k, (pool, time, sizes) in enumerate(zip(pools, times, _MIXED, strict=True)):
        stage, channels = nn.Sequential(pool), blocks[-1].channels
        # A narrow network keeps the last block of each stage, and two of the longest.
        kept = sizes if not narrow else sizes[-2:] if len(sizes) > 2 else sizes[-1:]
        for size in kept:
            block = Inception(channels, tuple(n // fraction for n in size), conv)
            stage.append(block)
            channels = block.channels
        before = blocks[-1]
        stages.append(stage)
        blocks.append(
            Block(f"mixed{k + 3}", channels, before.stride * 2, before.stride_time * time)
        )
    return initialise(Backbone(name, blocks, stages, volumetric=True))
