"""ResNets inflated to clips, with non-local blocks."""

from __future__ import annotations

from torch import nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights
from torchvision.models.resnet import Bottleneck

from repflow_pl.backbones.nonlocal_block import with_nonlocal
from repflow_pl.backbones.registry import Backbone, Block, backbone, initialise


@backbone("resnet50_nonlocal", weights=ResNet50_Weights.IMAGENET1K_V1)
def resnet50_nonlocal(in_channels: int) -> Backbone:
    """I3D ResNet-50 with 5 non-local blocks: Wang et al. (CVPR 2018), Table 1 and Section 4.

    2 behind every other block of res3, 3 behind every other one of res4. 1 x 1 kernels are
    inflated to 3 x 1 x 1 in every other residual block, the first kernel to 5 x 7 x 7. The only
    stride in time is the 2 in front of res3, as in the authors' code for clips of 8 and 32 frames;
    Table 1, for 32, has two more.
    """
    return _inflated("resnet50_nonlocal", in_channels, (3, 4, 6, 3))


@backbone("resnet101_nonlocal", weights=ResNet101_Weights.IMAGENET1K_V1)
def resnet101_nonlocal(in_channels: int) -> Backbone:
    """I3D ResNet-101 with 5 non-local blocks: the network of Wang et al., Table 3.

    Its res4 has 23 blocks; the 3 non-local ones are behind every seventh, as in the authors' code.
    """
    return _inflated("resnet101_nonlocal", in_channels, (3, 4, 23, 3), every=7)


@backbone("nonlocal_narrow")
def nonlocal_narrow(in_channels: int) -> Backbone:
    """The same with an eighth of the channels and 7 residual and 2 non-local blocks, for CPUs.

    It strides less, so that block 3 still has 16 x 16 pixels.
    """
    return _inflated("nonlocal_narrow", in_channels, (1, 2, 2, 2), width=8, pool=False)


def _inflated(
    name: str,
    in_channels: int,
    depths: tuple[int, int, int, int],
    every: int = 2,
    width: int = 64,
    pool: bool = True,
) -> Backbone:
    """`every`: residual blocks per non-local block in res4; in res3 there are 2."""
    stem = nn.Sequential(
        nn.Conv3d(in_channels, width, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
    if pool:
        stem.append(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))
    initialise(stem)
    side = 4 if pool else 2
    # Every other block of res2 to res4 is inflated from its first one on, of res5 from its second.
    res2 = _stage(width, width, depths[0], 1, (3,))
    res3 = with_nonlocal(_stage(4 * width, 2 * width, depths[1], 2, (3, 1)), 8 * width)
    res4 = with_nonlocal(_stage(8 * width, 4 * width, depths[2], 2, (3, 1)), 16 * width, every)
    res5 = _stage(16 * width, 8 * width, depths[3], 2, (1, 3))
    halve = nn.MaxPool3d((2, 1, 1), ceil_mode=True)
    blocks = [Block("input", in_channels, 1), Block("stem", width, side)]
    blocks += [Block(f"res{k + 2}", 4 * width * 2**k, side * 2**k, 2 if k else 1) for k in range(4)]
    stages = (stem, res2, nn.Sequential(halve, res3), res4, res5)
    return Backbone(name, blocks, stages, volumetric=True)


def _stage(
    channels_in: int, planes: int, depth: int, stride: int, times: tuple[int, ...]
) -> nn.Sequential:
    """Bottleneck blocks; the time extents of their first convolutions repeat `times`."""
    shortcut = nn.Sequential(
        nn.Conv2d(channels_in, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
    )
    stage = nn.Sequential(Bottleneck(channels_in, planes, stride, shortcut))
    for _ in range(depth - 1):
        stage.append(Bottleneck(4 * planes, planes))
    for k, block in enumerate(stage):
        _to_3d(block)
        assert isinstance(block.conv1, nn.Conv3d)
        block.conv1 = _conv_3d(block.conv1, times[k % len(times)])
    initialise(stage)
    return stage


def _to_3d(module: nn.Module) -> None:
    """Make a 2D module one of clips that treats every frame alike, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, _conv_3d(child, 1))
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm3d(child.num_features))
        else:
            _to_3d(child)


def _conv_3d(conv: nn.Conv2d | nn.Conv3d, time: int) -> nn.Conv3d:
    """A convolution of the same size and stride in space, `time` frames long."""
    (height, width), space = conv.kernel_size[-2:], conv.stride[-1]
    return nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (time, height, width),
        (1, space, space),
        (time // 2, height // 2, width // 2),
        bias=False,
    )
