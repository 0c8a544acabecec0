"""Weights as a command line names them."""

from __future__ import annotations

from pathlib import Path

import torch

from repflow_pl.errors import UserError
from repflow_pl.showing.bundled import DEMO, bundled
from repflow_pl.showing.weights import Weights, load_weights


def asked_weights(
    path: Path | None, device: str, iterations: int | None, classes: Path | None
) -> Weights:
    """The weights, on their device.

    Args:
        path: the name of some that come with the package, or what is there.
        device: as torch writes it, or "auto".
        classes: a text file of their names.

    Errors: UserError where they cannot be had, and for a device that is not there.
    """
    if path is None:
        raise UserError(
            "no weights are named: give --weights FILE, a run's folder or checkpoint, or the name "
            f"of some that come with the package, as {DEMO}."
        )
    # By name first: folders of videos are called like their data set, too.
    found = bundled(str(path)) or path
    weights = load_weights(found, iterations, read_classes(classes) if classes else ())
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        weights.network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"the device {device!r} cannot be used ({str(error).splitlines()[0]}): take cpu."
        ) from error
    return weights


def read_classes(path: Path) -> list[str]:
    """The lines of a text file. Errors: UserError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the names of the classes from {path}: {error}.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
