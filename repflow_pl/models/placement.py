"""A backbone, with flow layers after one of its blocks or without, as a clip classifier."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from repflow_pl.backbones import Backbone
from repflow_pl.errors import UserError
from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.specs import FlowSpec


class ClipClassifier(nn.Module):
    """Class scores of clips: blocks 1..k, the flow layers, the other blocks, mean, linear layer.

    Without a flow spec it is the plain CNN; one that sees single frames has its scores averaged.

    Shapes: [B, C, T, H, W] -> [B, classes].
    Errors: UserError where the backbone has no such block, and for clips of which too few frames
    are left behind it.
    """

    def __init__(
        self, backbone: Backbone, classes: int, dropout: float, flow: FlowSpec | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.flow_spec = flow
        self.flow = None if flow is None else place_flow(backbone, flow)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.blocks[-1].channels, classes)

    def forward(self, clip: Tensor) -> Tensor:
        features = self.backbone.features(clip, self._with_flow)
        # The mean over frames before the linear layer is the mean of the frames' scores.
        scores: Tensor = self.head(self.dropout(features.mean((2, 3, 4))))
        return scores

    def _with_flow(self, index: int, features: Tensor) -> Tensor:
        if self.flow is None or self.flow_spec is None or index != self.flow_spec.after_block:
            return features
        check_frames(self.backbone, self.flow_spec, features.shape[2])
        flow: Tensor = self.flow(features)
        return flow


def check_frames(backbone: Backbone, flow: FlowSpec, frames: int) -> None:
    """Refuse flow layers where a clip has too few frames left. Errors: UserError."""
    if frames <= flow.layers:
        block = backbone.block(flow.after_block)
        raise UserError(
            f"flow after block {flow.after_block} of {backbone.name!r} needs {flow.layers + 1} "
            f"frames or more there, and this clip has {frames} left (the block strides by "
            f"{block.stride_time} in time): take longer clips or an earlier block."
        )


def place_flow(backbone: Backbone, spec: FlowSpec) -> RepFlow | FlowStack:
    """The flow layers that fit behind the spec's block.

    On the RGB input the flow is that of the colour channels themselves, and signed.
    """
    on_input = spec.after_block == 0
    layer: Callable[..., RepFlow | FlowStack] = (
        partial(RepFlow, fuse=spec.fuse)
        if spec.layers == 1
        else partial(FlowStack, layers=spec.layers, convolve=spec.convolve, residual=spec.residual)
    )
    return layer(
        channels=backbone.block(spec.after_block).channels,
        bottleneck=None if on_input else spec.bottleneck,
        n_iter=spec.n_iter,
        learn=spec.learn,
        kernels=spec.kernels,
        rectify=not on_input,
    )
