"""For torch.hub: the layer, which needs torch alone, and networks with it, on torchvision's.

    layer = torch.hub.load(REPOSITORY, "repflow", channels=128)
    network = torch.hub.load(REPOSITORY, "network", backbone="resnet34", classes=51)

REPOSITORY is OWNER/NAME on GitHub or, with source="local", the folder of a checkout.
"""

from __future__ import annotations

from typing import Any as _Any

from torch import nn as _nn

from repflow_pl import FlowStack as _FlowStack
from repflow_pl import RepFlow as _RepFlow
from repflow_pl.specs import FlowSpec as _FlowSpec
from repflow_pl.specs import ModelSpec as _ModelSpec

dependencies = ["torch"]


def repflow(channels: int, **options: _Any) -> _RepFlow:
    """The representation flow layer: [B, channels, T, H, W] -> [B, channels, T - 1, H, W].

    Args:
        channels: of the features that the flow is computed on.
        options: bottleneck, n_iter and all others of `repflow_pl.RepFlow`.
    """
    return _RepFlow(channels, **options)


def flow_stack(channels: int, **options: _Any) -> _FlowStack:
    """Flow of flow: [B, channels, T, H, W] -> [B, channels, T - layers, H, W].

    Args:
        channels: of the features that the flow is computed on.
        options: layers, convolve and all others of `repflow_pl.FlowStack`.
    """
    return _FlowStack(channels, **options)


def network(
    backbone: str = "resnet34",
    classes: int = 400,
    after_block: int | None = 3,
    pretrained: bool = False,
    **flow: _Any,
) -> _nn.Module:
    """A backbone with the flow layer in it: clips [B, 3, T, H, W] in -1..1 -> [B, classes].

    Args:
        backbone: one of `repflow_pl.backbones.backbone_names()`.
        classes: how many scores a clip gets.
        after_block: behind which block the layer is, 0 for the pixels; None: there is none.
        pretrained: start from torchvision's weights of the backbone.
        flow: n_iter, bottleneck and all others of `repflow_pl.specs.FlowSpec`.
    """
    from repflow_pl.models.build import build_model

    placed = None if after_block is None else _FlowSpec(after_block, **flow)
    return build_model(_ModelSpec(backbone, flow=placed, pretrained=pretrained), classes)
