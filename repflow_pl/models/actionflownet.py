"""ActionFlowNet: one network learns the classes and the optical flow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repflow_pl.backbones import Backbone
from repflow_pl.layers.frames import check_pairs, frames_of
from repflow_pl.specs import ActionFlowNetSpec

FINEST = 2
"""The block at whose resolution the flow is predicted."""


class ActionFlowNet(nn.Module):
    """Class scores of clips from pairs of frames; in training it also predicts their flow.

    Ng et al., "ActionFlowNet: Learning Motion Representation for Action Recognition" (WACV 2018):
    cross-entropy plus a weight times the end-point error to the fields of a teacher, here TV-L1.
    A pair of consecutive frames is one image of six channels, the paper's two-frame form, which is
    the one that a per-frame backbone allows. No released code is known: the decoder is a small one
    of our own, which adds the blocks up from the coarsest to block 2 and predicts there, where the
    paper's follows FlowNet.

    Shapes: RGB [B, 3, T, H, W] with T >= 2 -> [B, classes].
    Errors: UserError for other shapes, and for a clip of one frame.

    Args:
        backbone: for images of six channels.
    """

    def __init__(
        self, backbone: Backbone, classes: int, dropout: float, spec: ActionFlowNetSpec
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.flow_weight = spec.flow_weight
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.blocks[-1].channels, classes)
        self.laterals = nn.ModuleList(
            nn.Conv2d(block.channels, spec.width, 1) for block in backbone.blocks[FINEST:]
        )
        self.predict = nn.Sequential(
            nn.Conv2d(spec.width, spec.width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(spec.width, 2, 3, padding=1),
        ).to(memory_format=torch.channels_last)

    def forward(self, clip: Tensor) -> Tensor:
        return self._scores(self._features(clip))

    def training_loss(self, inputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """(scores, loss) of RGB [B, 3, T, H, W] and the fields [B, 2, T - 1, H, W] to predict."""
        clip, fields = inputs
        features = self._features(clip)
        scores = self._scores(features)
        error = end_point_error(self._flow(features), frames_of(fields))
        return scores, F.cross_entropy(scores, labels) + self.flow_weight * error

    def predict_flow(self, clip: Tensor) -> Tensor:
        """Flow in input pixels per frame, at the resolution of block 2: [B, 2, T - 1, h, w]."""
        flow = self._flow(self._features(clip))
        return flow.reshape(len(clip), -1, *flow.shape[1:]).transpose(1, 2)

    def _features(self, clip: Tensor) -> list[Tensor]:
        """[B, C, T - 1, h, w] behind block 2 and every later one."""
        check_pairs(clip, self.backbone.block(0).channels // 2, "ActionFlowNet")
        return self.backbone.levels(FINEST, torch.cat([clip[:, :, :-1], clip[:, :, 1:]], 1))

    def _scores(self, features: Sequence[Tensor]) -> Tensor:
        scores: Tensor = self.head(self.dropout(features[-1].mean((2, 3, 4))))
        return scores

    def _flow(self, features: Sequence[Tensor]) -> Tensor:
        """[B * (T - 1), 2, h, w]."""
        same_width = [
            lateral(frames_of(x)) for lateral, x in zip(self.laterals, features, strict=True)
        ]
        merged = same_width.pop()
        while same_width:
            finer = same_width.pop()
            merged = F.relu(finer + F.interpolate(merged, size=finer.shape[-2:]))
        flow: Tensor = self.predict(merged)
        return flow


def end_point_error(predicted: Tensor, fields: Tensor) -> Tensor:
    """Mean length of the difference, in pixels, at the prediction's resolution.

    Shapes: [N, 2, h, w] and [N, 2, H, W], which is averaged down to h x w.
    """
    height, width = predicted.shape[-2:]
    teacher = F.adaptive_avg_pool2d(fields, (height, width))
    # 1e-6 of a squared pixel: a finite gradient where the two agree.
    return ((predicted - teacher).square().sum(1) + 1e-6).sqrt().mean()
