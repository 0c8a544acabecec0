"""A backbone, with a flow layer after one of its blocks or without, as a clip classifier."""

from __future__ import annotations

from torch import Tensor, nn

from repflow_pl.backbones import Backbone
from repflow_pl.errors import UserError
from repflow_pl.layers.flow import RepFlow
from repflow_pl.specs import FlowSpec


class ClipClassifier(nn.Module):
    """Class scores of clips: blocks 1..k, the flow layer, the other blocks, mean, linear layer.

    Without a flow spec it is the plain CNN; one that sees single frames has its scores averaged.

    Shapes: [B, C, T, H, W] -> [B, classes].
    Errors: UserError where the backbone has no such block, and for clips of which one frame is left
    behind it.
    """

    def __init__(
        self, backbone: Backbone, classes: int, dropout: float, flow: FlowSpec | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.flow_after = None if flow is None else flow.after_block
        self.flow = None if flow is None else place_flow(backbone, flow)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.blocks[-1].channels, classes)

    def forward(self, clip: Tensor) -> Tensor:
        for index in range(len(self.backbone.blocks)):
            clip = self.backbone.forward_block(index, clip)
            if self.flow is not None and index == self.flow_after:
                check_frames(self.backbone, index, clip.shape[2])
                clip = self.flow(clip)
        # The mean over frames before the linear layer is the mean of the frames' scores.
        scores: Tensor = self.head(self.dropout(clip.mean((2, 3, 4))))
        return scores


def check_frames(backbone: Backbone, index: int, frames: int) -> None:
    """Refuse a flow layer where a clip has no two frames left. Errors: UserError."""
    if frames < 2:
        block = backbone.block(index)
        raise UserError(
            f"behind block {index} of {backbone.name!r} a clip has one frame left (it strides by "
            f"{block.stride_time} in time), and flow needs two: take longer clips or an earlier "
            "block."
        )


def place_flow(backbone: Backbone, spec: FlowSpec) -> RepFlow:
    """The flow layer that fits behind the spec's block.

    On the RGB input the flow is that of the colour channels themselves, and signed.
    """
    on_input = spec.after_block == 0
    return RepFlow(
        backbone.block(spec.after_block).channels,
        bottleneck=None if on_input else spec.bottleneck,
        n_iter=spec.n_iter,
        learn=spec.learn,
        rectify=not on_input,
    )
