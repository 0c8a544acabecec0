"""A run's training curve, beside its result: curve.csv, a line an epoch. Imports no trainer."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.strict import parse

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


def read_curve(path: Path) -> tuple[Epoch, ...]:
    """Read it. Errors: UserError where the file is damaged; FileNotFoundError without one."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            curve = tuple(_epoch(line) for line in csv.DictReader(stream))
        if not curve:
            raise ValueError("it has no epoch")
        return curve
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it and the result beside it, and run the table "
            "again."
        ) from error


def _epoch(line: dict[str, str]) -> Epoch:
    figures = {name: float(text) if text else None for name, text in line.items()}
    return parse(Epoch, {**figures, "epoch": int(line["epoch"])})


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
