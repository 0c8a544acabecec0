"""Backbones by name. To add one, decorate a function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from repflow_pl.backbones.pretrained import Input, load, standardise
from repflow_pl.errors import UserError, unknown
from repflow_pl.layers.frames import check_clips, per_frame
from repflow_pl.weights import fetch

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Block:
    """What a layer placed after the block finds there."""

    name: str
    channels: int
    stride: int
    """Input pixels per pixel of the block's feature map."""
    stride_time: int = 1
    """Input frames per frame of the block's feature map."""


class Backbone(nn.Module):
    """A CNN cut into blocks that a layer can be placed between.

    Block 0 is the input itself; `stages[k - 1]` is block k. `features` is the way through all of
    them, of clips [B, C, T, H, W]. A 2D CNN's stages work on images [N, C, H, W] and see one frame
    at a time; a volumetric one's work on clips and may stride in time as well as in space.
    """

    def __init__(
        self,
        name: str,
        blocks: Sequence[Block],
        stages: Sequence[nn.Module],
        volumetric: bool = False,
    ) -> None:
        super().__init__()
        if len(blocks) != len(stages) + 1:
            raise ValueError("a backbone publishes its input and one block for each stage")
        self.name = name
        self.blocks = tuple(blocks)
        self.volumetric = volumetric
        self.input: nn.Module = nn.Identity()
        self.stages = nn.ModuleList(stages)
        if not volumetric:
            # 2D convolutions on the CPU and tensor cores on a GPU are faster in this layout.
            self.to(memory_format=torch.channels_last)

    def block(self, index: int) -> Block:
        """Block `index`. Errors: UserError, naming the blocks there are."""
        if not 0 <= index < len(self.blocks):
            there = ", ".join(f"{k} ({b.name})" for k, b in enumerate(self.blocks))
            raise UserError(f"backbone {self.name!r} has no block {index}; it has {there}.")
        return self.blocks[index]

    def features(self, clip: Tensor, behind: Behind | None = None) -> Tensor:
        """Every block from 0 on: [B, C, T, H, W] -> the features of the last.

        `behind(k, features)` sees what block k gives and returns what the next block gets, or after
        the last what comes back: layers are placed by it.
        Errors: UserError for clips of another shape.
        """
        check_clips(clip, self.block(0).channels, f"the backbone {self.name!r}")
        for index in range(len(self.blocks)):
            clip = self.forward_block(index, clip)
            if behind is not None:
                clip = behind(index, clip)
        return clip

    def levels(self, first: int, clip: Tensor) -> list[Tensor]:
        """The features of block `first` and of every later one; clip and errors as `features`."""
        found: list[Tensor] = []

        def gather(index: int, features: Tensor) -> Tensor:
            if index >= first:
                found.append(features)
            return features

        self.features(clip, gather)
        return found

    def forward_block(self, index: int, clip: Tensor) -> Tensor:
        """Block `index`: [B, C, T, H, W] -> [B, C', T', H', W'], sizes over strides rounded up.

        Block 0 scales its input as pretrained weights expect it; else it changes nothing.
        Errors: UserError, naming the blocks there are.
        """
        self.block(index)
        module = self.stages[index - 1] if index else self.input
        if index and not self.volumetric:
            return per_frame(module, clip)
        if clip.device.type == "cpu":  # where convolutions of clips are faster in this layout
            clip = clip.contiguous(memory_format=torch.channels_last_3d)
        out: Tensor = module(clip)
        return out


Behind = Callable[[int, Tensor], Tensor]
"""(number of a block, its features) -> what goes on in their place."""

Builder = Callable[[int], Backbone]


@dataclass(frozen=True)
class _Entry:
    build: Builder
    weights: WeightsEnum | None


_ENTRIES: dict[str, _Entry] = {}


def backbone(name: str, weights: WeightsEnum | None = None) -> Callable[[Builder], Builder]:
    """Register a function (input channels) -> Backbone under a name.

    `weights`: those of torchvision that the backbone can start from, where there are any; of a 2D
    network where the backbone is that network inflated. See `pretrained.load` for what must agree.
    """

    def register(builder: Builder) -> Builder:
        if name in _ENTRIES:
            raise ValueError(f"backbone {name!r} is registered twice")
        _ENTRIES[name] = _Entry(builder, weights)
        return builder

    return register


def backbone_names() -> tuple[str, ...]:
    """Every registered name."""
    return tuple(_ENTRIES)


def pretrained_names() -> tuple[str, ...]:
    """The names of backbones that torchvision has weights for."""
    return tuple(name for name, entry in _ENTRIES.items() if entry.weights is not None)


def build_backbone(
    name: str, in_channels: int = 3, pretrained: bool = False, sees: Input = "pixels"
) -> Backbone:
    """The backbone of that name, freshly initialised or with torchvision's weights.

    `sees`: what it is given, which its block 0 scales as the weights expect it.

    Errors: UserError for an unknown name, and for weights that there are not or that cannot be had.
    """
    if name not in _ENTRIES:
        raise unknown("backbone", name, _ENTRIES)
    entry = _ENTRIES[name]
    net = entry.build(in_channels)
    if pretrained:
        if entry.weights is None:
            raise UserError(
                f"torchvision has no weights for backbone {name!r}: leave out --pretrained, or "
                f"take one of {', '.join(pretrained_names())}."
            )
        load(net.stages, fetch(entry.weights, "leave out --pretrained"), str(entry.weights))
        net.input = standardise(entry.weights, in_channels, sees)
    return net


def is_volumetric(name: str) -> bool:
    """Whether the backbone of that name sees whole clips. Errors: UserError for an unknown name."""
    with torch.device("meta"):
        return build_backbone(name).volumetric


def initialise(net: Net) -> Net:
    """The same, with convolutions as torchvision's ResNets have them: He et al. (2015), fan-out."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
