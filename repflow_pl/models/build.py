"""A model spec -> the network."""

from __future__ import annotations

from torch import nn

from repflow_pl.backbones import build_backbone, is_volumetric
from repflow_pl.models.placement import ClipClassifier
from repflow_pl.models.streams import FieldStack, LateFusion
from repflow_pl.specs import LateSpec, ModelSpec, streams_of


def build_model(spec: ModelSpec | LateSpec, classes: int) -> nn.Module:
    """The network of a spec, freshly initialised; it takes one tensor for each of `streams_of`.

    Shapes: rgb [B, 3, T, H, W] in -1..1, TV-L1 fields [B, 2, T - 1, H, W], fields of fields
    [B, 4, T - 2, H, W] -> [B, classes].
    Errors: UserError for an unknown backbone, block or flow parameter, and for pretrained weights
    that there are not or that cannot be had.
    """
    if isinstance(spec, LateSpec):
        inputs = streams_of(spec)
        return LateFusion(
            [build_model(member.model, classes) for member in spec.members],
            [[inputs.index(s) for s in streams_of(member.model)] for member in spec.members],
        )
    if spec.stream == "rgb":
        backbone = build_backbone(spec.backbone, pretrained=spec.pretrained)
        return ClipClassifier(backbone, classes, spec.dropout, spec.flow)
    channels = 2 if spec.stream == "tvl1" else 4
    if is_volumetric(spec.backbone):  # the fields are a clip
        backbone = build_backbone(spec.backbone, channels, spec.pretrained)
        return ClipClassifier(backbone, classes, spec.dropout)
    backbone = build_backbone(spec.backbone, channels * spec.stack, spec.pretrained)
    return FieldStack(ClipClassifier(backbone, classes, spec.dropout), spec.stack)
