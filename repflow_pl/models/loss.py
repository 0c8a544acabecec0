"""What a network is trained by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional as F


@runtime_checkable
class OwnLoss(Protocol):
    """A network that is trained by more than the cross-entropy of its scores."""

    def training_loss(self, inputs: Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """(scores [B, classes], loss) of a training batch; inputs as training loads them."""
        ...


def training_loss(
    model: nn.Module, inputs: Sequence[Tensor], labels: Tensor
) -> tuple[Tensor, Tensor]:
    """(scores [B, classes], loss) of a training batch: cross-entropy, or the network's own loss."""
    if isinstance(model, OwnLoss):
        return model.training_loss(inputs, labels)
    scores = model(*inputs)
    return scores, F.cross_entropy(scores, labels)
