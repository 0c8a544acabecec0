"""Backbones by name. To add one, decorate a function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError, unknown
from repflow_pl.layers.frames import per_frame


@dataclass(frozen=True)
class Block:
    """What a layer placed after the block finds there."""

    name: str
    channels: int
    stride: int
    """Input pixels per pixel of the block's feature map."""


class Backbone(nn.Module):
    """A 2D CNN applied to every frame, cut into blocks that a layer can be placed between.

    Block 0 is the input itself; `stages[k - 1]` is block k. Stages work on images [N, C, H, W];
    `forward_block` takes and returns clips [B, C, T, H, W].
    """

    def __init__(self, name: str, blocks: Sequence[Block], stages: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(blocks) != len(stages) + 1:
            raise ValueError("a backbone publishes its input and one block for each stage")
        self.name = name
        self.blocks = tuple(blocks)
        self.stages = nn.ModuleList(stages)
        # Convolutions on the CPU and tensor cores on a GPU are faster in this layout.
        self.to(memory_format=torch.channels_last)

    def block(self, index: int) -> Block:
        """Block `index`. Errors: UserError, naming the blocks there are."""
        if not 0 <= index < len(self.blocks):
            there = ", ".join(f"{k} ({b.name})" for k, b in enumerate(self.blocks))
            raise UserError(f"backbone {self.name!r} has no block {index}; it has {there}.")
        return self.blocks[index]

    def forward_block(self, index: int, clip: Tensor) -> Tensor:
        """Block `index` (1 or more): [B, C, T, H, W] -> [B, C', T, H', W']."""
        return per_frame(self.stages[index - 1], clip)


Builder = Callable[[int], Backbone]
_BUILDERS: dict[str, Builder] = {}


def backbone(name: str) -> Callable[[Builder], Builder]:
    """Register a function (input channels) -> Backbone under a name."""

    def register(builder: Builder) -> Builder:
        if name in _BUILDERS:
            raise ValueError(f"backbone {name!r} is registered twice")
        _BUILDERS[name] = builder
        return builder

    return register


def backbone_names() -> tuple[str, ...]:
    """Every registered name."""
    return tuple(_BUILDERS)


def build_backbone(name: str, in_channels: int = 3) -> Backbone:
    """The backbone of that name, freshly initialised. Errors: UserError for an unknown name."""
    if name not in _BUILDERS:
        raise unknown("backbone", name, _BUILDERS)
    return _BUILDERS[name](in_channels)
