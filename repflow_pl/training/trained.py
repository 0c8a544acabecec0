"""The network's weights in a run's checkpoint. Imports no trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

LAST = "last.ckpt"
"""A run's newest checkpoint."""
PREFIX = "model."
"""Of the network's weights among those of the module that trains it."""


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's state dict of what torch.load gives of a checkpoint."""
    return {
        name.removeprefix(PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }
