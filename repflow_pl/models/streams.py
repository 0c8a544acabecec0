"""Networks beside the plain RGB one: the stack of TV-L1 fields, and late fusion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError


class FieldStack(nn.Module):
    """A CNN on stacked optical flow (Simonyan and Zisserman, NIPS 2014, Section 3.1).

    Every `stack` consecutive fields become one image of C * stack channels; the scores of all such
    windows of a clip are averaged.

    Shapes: [B, C, F, H, W] with F >= stack -> [B, classes]; C is 2, or 4 for fields of fields.
    """

    def __init__(self, classifier: nn.Module, stack: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.stack = stack

    def forward(self, fields: Tensor) -> Tensor:
        if fields.shape[2] < self.stack:
            raise UserError(
                f"a stack of {self.stack} TV-L1 fields needs longer clips; these have "
                f"{fields.shape[2]} fields."
            )
        windows = fields.unfold(2, self.stack, 1)  # [B, C, windows, H, W, stack]
        images = windows.permute(0, 5, 1, 2, 3, 4).flatten(1, 2)  # [B, C * stack, windows, H, W]
        scores: Tensor = self.classifier(images)
        return scores


class LateFusion(nn.Module):
    """The mean of the class probabilities of networks trained on their own, as its logarithm.

    Args:
        members: the networks.
        takes: for each of them, which of the inputs it takes.

    Shapes: the inputs as the members take them -> [B, classes].
    """

    def __init__(self, members: Sequence[nn.Module], takes: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.takes = tuple(tuple(places) for places in takes)

    def forward(self, *inputs: Tensor) -> Tensor:
        scores = [
            member(*(inputs[place] for place in places)).log_softmax(1)
            for member, places in zip(self.members, self.takes, strict=True)
        ]
        return torch.stack(scores).logsumexp(0) - math.log(len(scores))
