"""A model spec -> the network."""

from __future__ import annotations

import dataclasses

from torch import nn

from repflow_pl.backbones import build_backbone, is_volumetric
from repflow_pl.models.placement import ClipClassifier
from repflow_pl.models.streams import FieldStack, TwoStream
from repflow_pl.specs import ModelSpec


def build_model(spec: ModelSpec, classes: int) -> nn.Module:
    """The network of a spec, freshly initialised; it takes one tensor for each stream.

    Shapes: rgb [B, 3, T, H, W] in -1..1 and/or TV-L1 fields [B, 2, T - 1, H, W] -> [B, classes].
    Errors: UserError for an unknown backbone, block or flow parameter, and for pretrained weights
    that there are not or that cannot be had.
    """
    if spec.stream == "two_stream":
        rgb, tvl1 = (build_model(part, classes) for part in stream_specs(spec))
        return TwoStream(rgb, tvl1)
    if spec.stream == "tvl1" and is_volumetric(spec.backbone):
        backbone = build_backbone(spec.backbone, 2, spec.pretrained)  # the fields are a clip
        return ClipClassifier(backbone, classes, spec.dropout)
    if spec.stream == "tvl1":
        backbone = build_backbone(spec.backbone, 2 * spec.stack, spec.pretrained)
        return FieldStack(ClipClassifier(backbone, classes, spec.dropout), spec.stack)
    backbone = build_backbone(spec.backbone, pretrained=spec.pretrained)
    return ClipClassifier(backbone, classes, spec.dropout, spec.flow)


def stream_specs(spec: ModelSpec) -> tuple[ModelSpec, ModelSpec]:
    """The two models, trained on their own, whose probabilities a two-stream model averages."""
    return (
        dataclasses.replace(spec, stream="rgb"),
        dataclasses.replace(spec, stream="tvl1"),
    )
