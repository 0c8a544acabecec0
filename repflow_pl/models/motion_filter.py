"""MFNet: a backbone with motion blocks between its stages."""

from __future__ import annotations

from torch import Tensor, nn

from repflow_pl.backbones import Backbone
from repflow_pl.layers.frames import check_pairs
from repflow_pl.layers.motion_filter import MotionBlock
from repflow_pl.specs import MotionFilterSpec


class MotionFilterNet(nn.Module):
    """Class scores of clips: a MotionBlock behind every block but the last, the mean over frames.

    Lee et al., "Motion Feature Network: Fixed Motion Filter for Action Recognition" (ECCV 2018).

    Shapes: [B, C, T, H, W] with T >= 2 -> [B, classes].
    Errors: UserError for other shapes, and for a clip of one frame.
    """

    def __init__(
        self, backbone: Backbone, classes: int, dropout: float, spec: MotionFilterSpec
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.motion = nn.ModuleList(
            MotionBlock(block.channels, spec.reduction) for block in backbone.blocks[1:-1]
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.blocks[-1].channels, classes)

    def forward(self, clip: Tensor) -> Tensor:
        check_pairs(clip, self.backbone.block(0).channels, "the motion filter")
        features = self.backbone.features(clip, self._with_motion)
        scores: Tensor = self.head(self.dropout(features.mean((2, 3, 4))))
        return scores

    def _with_motion(self, index: int, features: Tensor) -> Tensor:
        if 1 <= index <= len(self.motion):
            features = self.motion[index - 1](features)
        return features
