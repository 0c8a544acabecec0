"""Networks on other inputs: stacks of fields, TVNet's or TV-L1's, differences, two streams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.models.loss import training_loss


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
        scores: Tensor = self.classifier(self.images(fields))
        return scores

    def training_loss(self, inputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """(scores, loss): those of the classifier."""
        return training_loss(self.classifier, [self.images(*inputs)], labels)

    def images(self, fields: Tensor) -> Tensor:
        """[B, 2, F, H, W] -> [B, 2 * stack, F - stack + 1, H, W]."""
        if fields.shape[2] < self.stack:
            raise UserError(
                f"a stack of {self.stack} optical-flow fields needs clips of {self.stack + 1} "
                f"frames or more; these have {fields.shape[2] + 1}."
            )
        windows = fields.unfold(2, self.stack, 1)  # [B, 2, windows, H, W, stack]
        return windows.permute(0, 5, 1, 2, 3, 4).flatten(1, 2)


class TVNetStack(nn.Module):
    """A CNN on stacked optical flow that TVNet finds between the frames, trained as one network.

    Fan et al. (CVPR 2018): TVNet in the place of the flow that a two-stream network's second CNN
    is given.

    Shapes: RGB [B, 3, T, H, W] with T > stack -> [B, classes].
    """

    def __init__(self, tvnet: TVNet, stack: FieldStack) -> None:
        super().__init__()
        self.tvnet = tvnet
        self.stack = stack

    def forward(self, clip: Tensor) -> Tensor:
        scores: Tensor = self.stack(self.tvnet(clip))
        return scores


class FrameDifferences(nn.Module):
    """A classifier of the differences between consecutive frames.

    The "RGB difference" of Wang et al., "Temporal Segment Networks" (ECCV 2016), Section 3.2.

    Shapes: RGB [B, 3, T, H, W] with T >= 2 -> [B, classes].
    Errors: UserError for a clip of one frame.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, clip: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.differences(clip))
        return scores

    def training_loss(self, inputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """(scores, loss): those of the classifier."""
        return training_loss(self.classifier, [self.differences(*inputs)], labels)

    def differences(self, clip: Tensor) -> Tensor:
        """Each frame less the one before: [B, 3, T, H, W] -> [B, 3, T - 1, H, W]."""
        if clip.shape[2] < 2:
            raise UserError("frame differences need clips of two frames or more; these have one.")
        return clip[:, :, 1:] - clip[:, :, :-1]


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
