"""2D ResNets: torchvision's, and a narrow one made of the same blocks."""

from __future__ import annotations

import torchvision.models
from torch import nn
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights, WeightsEnum
from torchvision.models.resnet import BasicBlock, ResNet

from repflow_pl.backbones.registry import Backbone, Block, backbone, initialise

IMAGENET: dict[str, WeightsEnum] = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
}
"""torchvision's ResNets, He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016),
Table 1, the stride of the last in its 3x3 convolutions; the second is that of the paper's 2D
baselines."""


def _register(name: str, weights: WeightsEnum) -> None:
    """One of IMAGENET and, as `<name>_fine`, that with maps of half the stride: no pooling in its
    stem."""

    @backbone(name, weights=weights)
    def plain(in_channels: int) -> Backbone:
        return _from_torchvision(name, torchvision.models.get_model(name), in_channels)

    @backbone(f"{name}_fine", weights=weights)
    def fine(in_channels: int) -> Backbone:
        net = torchvision.models.get_model(name)
        net.maxpool = nn.Identity()
        return _from_torchvision(f"{name}_fine", net, in_channels, stem_stride=2)


for _name, _weights in IMAGENET.items():
    _register(_name, _weights)


@backbone("narrow")
def narrow(in_channels: int) -> Backbone:
    """A ResNet of one BasicBlock a stage for clips of 64 pixels and CPUs; 5 blocks like the others.

    It strides less than ResNet-18, so that block 3 still has 16 x 16 pixels to see motion in.
    """
    return _narrow("narrow", in_channels, stem_stride=2)


@backbone("narrow_fine")
def narrow_fine(in_channels: int) -> Backbone:
    """`narrow` with maps of half the stride: block 3 has 32 x 32 pixels."""
    return _narrow("narrow_fine", in_channels, stem_stride=1)


def _narrow(name: str, in_channels: int, stem_stride: int) -> Backbone:
    widths, strides = (16, 16, 32, 64, 128), (2, 1, 2, 2)
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, stride=stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
    )
    stages: list[nn.Module] = [stem]
    blocks = [Block("input", in_channels, 1), Block("stem", widths[0], stem_stride)]
    for k, stride in enumerate(strides):
        stages.append(_basic_block(widths[k], widths[k + 1], stride))
        blocks.append(Block(f"layer{k + 1}", widths[k + 1], blocks[-1].stride * stride))
    return initialise(Backbone(name, blocks, stages))


def _basic_block(channels_in: int, channels: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride != 1 or channels_in != channels:
        shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
            nn.BatchNorm2d(channels),
        )
    return BasicBlock(channels_in, channels, stride, shortcut)


def _from_torchvision(name: str, net: ResNet, in_channels: int, stem_stride: int = 4) -> Backbone:
    if in_channels != 3:
        net.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        initialise(net.conv1)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    layers = (net.layer1, net.layer2, net.layer3, net.layer4)
    width = net.fc.in_features // 8  # channels of layer1: 64, or 256 with bottleneck blocks
    blocks = [Block("input", in_channels, 1), Block("stem", 64, stem_stride)]
    blocks += [Block(f"layer{k + 1}", width * 2**k, stem_stride * 2**k) for k in range(4)]
    return Backbone(name, blocks, (stem, *layers))
