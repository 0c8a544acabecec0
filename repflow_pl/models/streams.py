"""Networks on other inputs: stacks of fields, differences, grey frames; late fusion."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError
from repflow_pl.layers.frames import check_clips, check_pairs
from repflow_pl.layers.tvnet import grey
from repflow_pl.models.loss import training_loss


class OfImages(nn.Module, ABC):
    """A classifier of what `images` makes of its input, trained by the classifier's own loss."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    @abstractmethod
    def images(self, inputs: Tensor) -> Tensor:
        """What the classifier is given."""

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.images(inputs))
        return scores

    def training_loss(self, inputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """(scores, loss): those of the classifier."""
        return training_loss(self.classifier, [self.images(*inputs)], labels)


class FieldStack(OfImages):
    """A CNN on stacked optical flow (Simonyan and Zisserman, NIPS 2014, Section 3.1).

    Every `stack` consecutive fields become one image of C * stack channels; the scores of all such
    windows of a clip are averaged.

    Shapes: [B, C, F, H, W] with F >= stack -> [B, classes]; C is 2, or 4 for fields of fields.
    """

    def __init__(self, classifier: nn.Module, stack: int) -> None:
        super().__init__(classifier)
        self.stack = stack

    def images(self, inputs: Tensor) -> Tensor:
        """[B, 2, F, H, W] -> [B, 2 * stack, F - stack + 1, H, W]."""
        check_clips(inputs, None, "a stack of fields")
        if inputs.shape[2] < self.stack:
            raise UserError(
                f"a stack of {self.stack} optical-flow fields needs longer clips; these have "
                f"{inputs.shape[2]} fields."
            )
        windows = inputs.unfold(2, self.stack, 1)  # [B, C, windows, H, W, stack]
        return windows.permute(0, 5, 1, 2, 3, 4).flatten(1, 2)


class FrameDifferences(OfImages):
    """A classifier of the differences between consecutive frames.

    The "RGB difference" of Wang et al., "Temporal Segment Networks" (ECCV 2016), Section 3.2.

    Shapes: RGB [B, 3, T, H, W] with T >= 2 -> [B, classes].
    Errors: UserError for a clip of one frame.
    """

    def images(self, inputs: Tensor) -> Tensor:
        """Each frame less the one before: [B, 3, T, H, W] -> [B, 3, T - 1, H, W]."""
        check_pairs(inputs, 3, "a network of frame differences")
        return inputs[:, :, 1:] - inputs[:, :, :-1]


class GreyFrames(OfImages):
    """A classifier of frames whose colour is taken away: three channels, each the brightness.

    Everything else is as on RGB, so that a comparison is of the colour alone.

    Shapes: RGB [B, 3, T, H, W] -> [B, classes].
    """

    def images(self, inputs: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> the same, with equal channels."""
        check_clips(inputs, 3, "a network of grey frames")
        return grey(inputs)[:, None].repeat(1, 3, 1, 1, 1)


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
        return self.joined(self.of_each(*inputs))

    def of_each(self, *inputs: Tensor) -> list[Tensor]:
        """The members' own scores, [B, classes] each."""
        return [
            member(*(inputs[place] for place in places))
            for member, places in zip(self.members, self.takes, strict=True)
        ]

    def joined(self, scores: Sequence[Tensor]) -> Tensor:
        """The fusion's of the members'."""
        # in float32 at least: in 16 bits, classes tie that do not
        dtype = torch.promote_types(scores[0].dtype, torch.float32)
        probabilities = torch.stack([each.to(dtype).log_softmax(1) for each in scores])
        return probabilities.logsumexp(0) - math.log(len(scores))
