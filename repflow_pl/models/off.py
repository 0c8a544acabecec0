"""A backbone with a branch of optical-flow guided features beside it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from repflow_pl.backbones import Backbone
from repflow_pl.layers.frames import check_pairs, frames_of
from repflow_pl.layers.off import OFFLayer
from repflow_pl.specs import OFFSpec

LEVELS = 3


class OFFNet(nn.Module):
    """Class scores of clips from the frames' features and from how these change.

    Sun et al., "Optical Flow Guided Feature: A Fast and Robust Motion Representation for Video
    Action Recognition" (CVPR 2018), Section 4. Behind each of the last three blocks lies an
    OFFLayer; its features, with those of the level before, go through a unit of a convolution,
    which strides to the next level's size, and two residual blocks. The backbone and every level
    have a classifier of their own, and each is trained by its own cross-entropy; the scores are
    their mean.

    The released networks (github.com/kevin-ssy/Optical-Flow-Guided-Feature, `models/ucf101`) are
    BN-Inceptions that are trained first and then frozen; here all is trained at once, at the
    backbone of the other rows, and the residual blocks are ResNet's with batch norm.

    Shapes: [B, C, T, H, W] with T >= 2 -> [B, classes].
    Errors: UserError for other shapes, and for a clip of one frame (or stack of fields).
    """

    def __init__(self, backbone: Backbone, classes: int, dropout: float, spec: OFFSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.first = len(backbone.blocks) - LEVELS
        blocks = backbone.blocks[self.first :]
        gradients = spec.temporal + 2 * spec.spatial
        before = [0] + [spec.width] * (LEVELS - 1)
        strides = [b.stride // a.stride for a, b in itertools.pairwise(blocks)] + [1]
        self.layers = nn.ModuleList(
            OFFLayer(block.channels, spec.temporal, spec.spatial) for block in blocks
        )
        self.units = nn.ModuleList(
            _unit(gradients + carried, spec.width, stride)
            for carried, stride in zip(before, strides, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(blocks[-1].channels, classes)
        self.heads = nn.ModuleList(nn.Linear(spec.width, classes) for _ in blocks)

    def forward(self, clip: Tensor) -> Tensor:
        return torch.stack(self.all_scores(clip)).mean(0)

    def training_loss(self, inputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """(scores, loss), the loss the mean over the classifiers."""
        every = self.all_scores(*inputs)
        losses = [F.cross_entropy(scores, labels) for scores in every]
        return torch.stack(every).mean(0), torch.stack(losses).mean()

    def all_scores(self, clip: Tensor) -> list[Tensor]:
        """[B, classes] of the backbone's classifier and of every level's, fine to coarse."""
        check_pairs(clip, self.backbone.block(0).channels, "OFF")
        levels = self.backbone.levels(self.first, clip)
        scores, carried = [], None
        for features, layer, unit, head in zip(
            levels, self.layers, self.units, self.heads, strict=True
        ):
            found = frames_of(layer(features))
            found = found if carried is None else torch.cat([found, carried], 1)
            carried = unit(found)
            pooled = carried.mean((2, 3)).unflatten(0, (len(clip), -1)).mean(1)
            scores.append(head(self.dropout(pooled)))
        return [self.head(self.dropout(levels[-1].mean((2, 3, 4)))), *scores]


def _unit(channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, stride=stride, padding=2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        BasicBlock(width, width),
        BasicBlock(width, width),
    ).to(memory_format=torch.channels_last)
