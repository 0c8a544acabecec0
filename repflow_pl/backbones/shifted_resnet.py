"""Temporal-shift ResNets (Lin et al., ICCV 2019): the 2D ones with their frames' features shifted.

They have the plain networks' parameters and operations, and start from the same weights of
torchvision's. They see whole clips, so optical flow goes into them as a clip, not as stacks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock, Bottleneck

from repflow_pl.backbones.registry import Backbone, backbone, build_backbone
from repflow_pl.backbones.resnet import IMAGENET
from repflow_pl.layers.frames import per_frame
from repflow_pl.layers.shift import temporal_shift


class PerFrame(nn.Module):
    """A 2D module as one of clips, which treats every frame alike.

    Shapes: [B, C, T, H, W] -> [B, C', T, H', W'].
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, clip: Tensor) -> Tensor:
        return per_frame(self.module, clip)


class ShiftedBlock(nn.Module):
    """A residual block of torchvision's on clips, whose branch begins with the shift.

    The "residual shift" of Lin et al.: what goes past the branch is not shifted, so no frame loses
    features of its own. The parameters are the block's, in its order.

    Shapes: [B, C, T, H, W] -> [B, C', T, H', W'].
    """

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        self.branch = nn.Sequential(block.conv1, block.bn1, block.relu, block.conv2, block.bn2)
        if isinstance(block, Bottleneck):
            self.branch.extend([block.relu, block.conv3, block.bn3])
        self.shortcut = nn.Identity() if block.downsample is None else block.downsample

    def forward(self, clip: Tensor) -> Tensor:
        branch = per_frame(self.branch, temporal_shift(clip))
        return F.relu(branch + per_frame(self.shortcut, clip))


def _shifted(name: str, weights: WeightsEnum | None = None) -> None:
    """Register the 2D ResNet `name` with a shift in each of its residual blocks."""

    @backbone(f"{name}_tsm", weights=weights)
    def tsm(in_channels: int) -> Backbone:
        plain = build_backbone(name, in_channels)
        stem, *layers = plain.stages
        stages = [PerFrame(stem), *(nn.Sequential(*_blocks(layer)) for layer in layers)]
        net = Backbone(f"{name}_tsm", plain.blocks, stages, volumetric=True)
        return net.to(memory_format=torch.channels_last)  # as any with 2D convolutions


_shifted("narrow")
for _name, _weights in IMAGENET.items():
    _shifted(_name, _weights)


def _blocks(layer: nn.Module) -> list[ShiftedBlock]:
    """A stage's residual blocks, each with the shift; a stage of `narrow` is one block."""
    blocks = (each for each in layer.modules() if isinstance(each, BasicBlock | Bottleneck))
    return [ShiftedBlock(block) for block in blocks]
