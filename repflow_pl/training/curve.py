"""A run's training curve, beside its result: curve.csv, a line an epoch. Imports no trainer."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from repflow_pl.files import atomic_write

CURVE = "curve.csv"


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to. Accuracies are fractions; None where there is no validation part."""

    epoch: int
    """From 1."""
    train_loss: float
    train_top1: float
    """Of clips, while the network learns."""
    val_loss: float | None = None
    val_top1: float | None = None


def write_curve(path: Path, curve: Sequence[Epoch]) -> None:
    """Write it, whole or not at all, to five digits."""
    with atomic_write(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(column.name for column in fields(Epoch))
        writer.writerows(
            [value if isinstance(value, int) else _short(value) for value in astuple(epoch)]
            for epoch in curve
        )


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
