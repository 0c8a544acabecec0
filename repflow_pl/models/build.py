"""A model spec -> the network."""

from __future__ import annotations

import dataclasses

from torch import nn

from repflow_pl.backbones import build_backbone
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.models.actionflownet import ActionFlowNet
from repflow_pl.models.motion_filter import MotionFilterNet
from repflow_pl.models.off import OFFNet
from repflow_pl.models.placement import ClipClassifier
from repflow_pl.models.streams import FieldStack, FrameDifferences, TVNetStack, TwoStream
from repflow_pl.specs import ActionFlowNetSpec, ModelSpec, MotionFilterSpec, OFFSpec, TVNetSpec


def build_model(spec: ModelSpec, classes: int) -> nn.Module:
    """The network of a spec, freshly initialised; it takes one tensor for each stream.

    Shapes: rgb [B, 3, T, H, W] in -1..1 and/or TV-L1 fields [B, 2, T - 1, H, W] -> [B, classes].
    Errors: UserError for an unknown backbone, block or flow parameter.
    """
    if spec.stream == "two_stream":
        rgb, tvl1 = (build_model(part, classes) for part in stream_specs(spec))
        return TwoStream(rgb, tvl1)
    if spec.stream == "tvl1":
        return FieldStack(_classifier(spec, 2 * spec.stack, classes), spec.stack)
    if spec.stream == "rgb_diff":
        return FrameDifferences(_classifier(spec, 3, classes))
    if isinstance(spec.motion, TVNetSpec):
        tvnet = TVNet(spec.motion.scales, spec.motion.warps, spec.motion.n_iter)
        return TVNetStack(tvnet, FieldStack(_classifier(spec, 2 * spec.stack, classes), spec.stack))
    if isinstance(spec.motion, ActionFlowNetSpec):
        return _classifier(spec, 6, classes)
    return _classifier(spec, 3, classes)


def _classifier(spec: ModelSpec, channels: int, classes: int) -> nn.Module:
    """The spec's backbone and what belongs into it, for clips of so many channels."""
    backbone = build_backbone(spec.backbone, channels)
    match spec.motion:
        case OFFSpec():
            return OFFNet(backbone, classes, spec.dropout, spec.motion)
        case MotionFilterSpec():
            return MotionFilterNet(backbone, classes, spec.dropout, spec.motion)
        case ActionFlowNetSpec():
            return ActionFlowNet(backbone, classes, spec.dropout, spec.motion)
        case _:
            return ClipClassifier(backbone, classes, spec.dropout, spec.flow)


def stream_specs(spec: ModelSpec) -> tuple[ModelSpec, ModelSpec]:
    """The two models, trained on their own, whose probabilities a two-stream model averages."""
    return (
        dataclasses.replace(spec, stream="rgb"),
        dataclasses.replace(spec, stream="tvl1"),
    )
