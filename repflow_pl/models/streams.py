"""Networks beside the plain RGB one: the stack of TV-L1 fields, and the average of two streams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError


class FieldStack(nn.Module):
    """A CNN on stacked optical flow (Simonyan and Zisserman, NIPS 2014, Section 3.1).

    Every `stack` consecutive fields become one image of 2 * stack channels; the scores of all such
    windows of a clip are averaged.

    Shapes: [B, 2, F, H, W] with F >= stack -> [B, classes].
    """

    def __init__(self, classifier: nn.Module, stack: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.stack = stack

    def forward(self, fields: Tensor) -> Tensor:
        if fields.shape[2] < self.stack:
            raise UserError(
                f"a stack of {self.stack} TV-L1 fields needs clips of {self.stack + 1} frames or "
                f"more; these have {fields.shape[2] + 1}."
            )
        windows = fields.unfold(2, self.stack, 1)  # [B, 2, windows, H, W, stack]
        images = windows.permute(0, 5, 1, 2, 3, 4).flatten(1, 2)  # [B, 2 * stack, windows, H, W]
        scores: Tensor = self.classifier(images)
        return scores


class TwoStream(nn.Module):
    """Late fusion: the mean of the two streams' class probabilities, as its logarithm.

    Shapes: [B, 3, T, H, W] and [B, 2, T - 1, H, W] -> [B, classes].
    """

    def __init__(self, rgb: nn.Module, tvl1: nn.Module) -> None:
        super().__init__()
        self.rgb = rgb
        self.tvl1 = tvl1

    def forward(self, clip: Tensor, fields: Tensor) -> Tensor:
        both = torch.stack([self.rgb(clip).log_softmax(1), self.tvl1(fields).log_softmax(1)])
        return both.logsumexp(0) - torch.log(torch.tensor(2.0))
