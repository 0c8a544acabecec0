"""A model spec -> the network."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from repflow_pl.backbones import Input, build_backbone, is_volumetric
from repflow_pl.errors import UserError
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.models.actionflownet import ActionFlowNet
from repflow_pl.models.motion_filter import MotionFilterNet
from repflow_pl.models.off import OFFNet
from repflow_pl.models.placement import ClipClassifier
from repflow_pl.models.streams import FieldStack, FrameDifferences, GreyFrames, LateFusion
from repflow_pl.specs import (
    ActionFlowNetSpec,
    LateSpec,
    ModelSpec,
    MotionFilterSpec,
    OFFSpec,
    TVNetSpec,
    streams_of,
)


def build_model(spec: ModelSpec | LateSpec, classes: int) -> nn.Module:
    """The network of a spec, freshly initialised; it takes one tensor for each of `streams_of`.

    Shapes: rgb [B, 3, T, H, W] in -1..1, fields of motion [B, 2, T - 1, H, W], fields of fields
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
    if spec.motion is not None and is_volumetric(spec.backbone):
        raise UserError(
            f"{spec.motion.kind} is for 2D backbones, and {spec.backbone!r} sees whole clips: "
            "take another --backbone."
        )
    if spec.stream in ("tvl1", "tvl1_twice", "vectors", "raft"):
        return _of_fields(spec, 4 if spec.stream == "tvl1_twice" else 2, classes)
    if spec.stream == "rgb_diff":
        return FrameDifferences(_classifier(spec, 3, classes, "differences"))
    if spec.stream == "grey":
        return GreyFrames(_classifier(spec, 3, classes))
    if isinstance(spec.motion, TVNetSpec):
        tvnet = TVNet(spec.motion.scales, spec.motion.warps, spec.motion.n_iter)
        # Fan et al. (CVPR 2018): TVNet in the place of the flow that a two-stream network's second
        # CNN is given, trained as one network.
        stack = _stack_of_fields(spec, 2, classes)
        return nn.Sequential(OrderedDict(tvnet=tvnet, stack=stack))
    return _classifier(spec, 6 if isinstance(spec.motion, ActionFlowNetSpec) else 3, classes)


def _of_fields(spec: ModelSpec, channels: int, classes: int) -> nn.Module:
    """A volumetric network takes the fields as a clip, a 2D one as stacks."""
    if is_volumetric(spec.backbone):
        return _classifier(spec, channels, classes, "fields")
    return _stack_of_fields(spec, channels, classes)


def _stack_of_fields(spec: ModelSpec, channels: int, classes: int) -> FieldStack:
    return FieldStack(_classifier(spec, channels * spec.stack, classes, "fields"), spec.stack)


def _classifier(spec: ModelSpec, channels: int, classes: int, sees: Input = "pixels") -> nn.Module:
    """The spec's backbone and what belongs into it, for clips of so many channels."""
    backbone = build_backbone(spec.backbone, channels, spec.pretrained, sees)
    match spec.motion:
        case OFFSpec():
            return OFFNet(backbone, classes, spec.dropout, spec.motion)
        case MotionFilterSpec():
            return MotionFilterNet(backbone, classes, spec.dropout, spec.motion)
        case ActionFlowNetSpec():
            return ActionFlowNet(backbone, classes, spec.dropout, spec.motion)
        case _:
            return ClipClassifier(backbone, classes, spec.dropout, spec.flow)
