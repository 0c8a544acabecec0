"""torchvision's files of weights: where they are, and what to say where they are not."""

from __future__ import annotations

import http.client
import pickle
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor
from torchvision.models import WeightsEnum

from repflow_pl.errors import UserError

State = Mapping[str, Tensor]

_FAILURES = (OSError, http.client.HTTPException, RuntimeError, pickle.UnpicklingError, EOFError)
"""What a download, a wrong hash and a damaged file raise."""


def fetch(weights: WeightsEnum, otherwise: str) -> State:
    """The tensors of a file of torchvision, downloaded into torch.hub's folder if it is not there.

    Args:
        otherwise: what to do without them; ends the sentence.

    Errors: UserError where it cannot be had or is damaged.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(urlparse(weights.url).path).name
    had = file.exists()
    try:
        state: State = weights.get_state_dict(
            progress=True, check_hash=True, map_location="cpu", weights_only=True
        )
    except _FAILURES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if had:
            raise UserError(
                f"{file} is no file of weights ({reason}): delete it, and it is downloaded again."
            ) from error
        raise UserError(
            f"the weights {weights} cannot be downloaded ({reason}): get {weights.url} on another "
            f"machine and place it in {folder}, or {otherwise}."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{file} is no file of weights: delete it, and it is downloaded again.")
    return state
