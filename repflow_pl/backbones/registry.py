"""Backbones by name. To add one, decorate a function that builds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from repflow_pl.backbones.pretrained import Standardise, expected_pixels, fetch, load
from repflow_pl.errors import UserError, unknown


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

    Block 0 is the input itself; `stages[k - 1]` is block k. `forward_block` takes and returns clips
    [B, C, T, H, W]. A 2D CNN's stages work on images [N, C, H, W] and see one frame at a time; a
    volumetric one's work on clips and may stride in time as well as in space.
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

    def forward_block(self, index: int, clip: Tensor) -> Tensor:
        """Block `index`: [B, C, T, H, W] -> [B, C', T', H', W'], sizes over strides rounded up.

        Block 0 scales the pixels as pretrained weights expect them; else it changes nothing.
        """
        if index == 0 or self.volumetric:
            out: Tensor = (self.stages[index - 1] if index else self.input)(clip)
            return out
        b, t = clip.shape[0], clip.shape[2]
        # Frames become batch items; where the clip came from another block this is a view.
        frames = self.stages[index - 1](clip.transpose(1, 2).flatten(0, 1))
        out = frames.unflatten(0, (b, t)).transpose(1, 2)
        return out


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


def build_backbone(name: str, in_channels: int = 3, pretrained: bool = False) -> Backbone:
    """The backbone of that name, freshly initialised or with torchvision's weights.

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
        load(net.stages, fetch(entry.weights), str(entry.weights))
        if in_channels == 3:
            net.input = Standardise(*expected_pixels(entry.weights))
    return net


def is_volumetric(name: str) -> bool:
    """Whether the backbone of that name sees whole clips. Errors: UserError for an unknown name."""
    with torch.device("meta"):
        return build_backbone(name).volumetric


def initialise(net: nn.Module) -> None:
    """Convolutions as torchvision's ResNets have them: He et al. (2015), fan-out."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
