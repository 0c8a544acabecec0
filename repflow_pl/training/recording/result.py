"""result.json: everything a table prints about one finished run. Imports no trainer."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.errors import UserError
from repflow_pl.files import write_json
from repflow_pl.strict import parse
from repflow_pl.training.recording.curve import CURVE
from repflow_pl.training.recording.predictions import PREDICTIONS

FILES = ("result.json", "spec.json")
"""What of a finished run is for others: small and without anything of the user; checkpoints, logs
and errors stay where they are."""
EXTRAS = (PREDICTIONS, CURVE)
"""Beside them, where the run has them: late fusion has no curve, results of older versions have
neither."""


@dataclass(frozen=True)
class Latency:
    """Evaluation time of one clip at batch 1, on the machine that trained the run.

    `ratio` compares with the plain RGB backbone of the same spec, timed in turns with the model
    in the same process; absolute times compare within one machine at most.
    """

    median_ms: float
    q25_ms: float
    q75_ms: float
    ratio: float
    tvl1_ms: float
    """Part of the median that makes the clip's fields: TV-L1's, RAFT's, or of motion vectors; 0
    where none are needed."""
    n: int


@dataclass(frozen=True)
class Versions:
    """What ran."""

    repflow_pl: str
    python: str
    torch: str
    lightning: str
    commit: str
    """Of the project's checkout, `+` added where it had changes; "unknown" without git."""


@dataclass(frozen=True)
class RunResult:
    """One spec trained with one seed. Accuracies are fractions of the test part."""

    spec: str
    """The spec's hash."""
    seed: int
    top1: float
    """Video accuracy: class probabilities averaged over a video's views."""
    top5: float
    clip_top1: float | None
    """Accuracy over single views; None of a late fusion joined from what its networks' runs kept,
    which is of videos."""
    clip_top5: float | None
    val_top1: float | None
    """Video accuracy on the validation part at the last epoch; None where the set has none."""
    train_loss: float
    """Mean over the last epoch; of late fusion, which trains nothing, 0."""
    videos_train: int
    videos_val: int
    videos_test: int
    videos_broken: int
    """Files that could not be decoded and were left out."""
    fingerprint: str
    """Of the data set's list of videos."""
    parameters: int
    parameters_trained: int
    flops: int
    """Floating-point operations of one clip's forward pass: convolutions and products (2 per
    multiply-add) as PyTorch counts them, plus the flow iterations."""
    latency: Latency
    train_seconds: float
    """Wall time of training and validation, summed over resumed parts."""
    test_seconds: float
    device: str
    versions: Versions
    videos_missing: int = 0
    """Files that the split's list names and the disk did not have."""
    videos_unread: int = 0
    """Test videos that could be read when the set was checked, and not in the test; they count as
    errors."""
    manifest: str = ""
    """Hash of the manifest: of all that was found in the split's files."""
    ranks: int = 1
    """Devices, or processes, that shared each batch."""
    kept_bytes: int | None = None
    """Of one clip, what a training step keeps for its backward pass; None of late fusion, which
    trains nothing, of networks that cannot be trained on one clip, and in older results."""

    def __post_init__(self) -> None:
        for name in ("top1", "top5", "clip_top1", "clip_top5", "val_top1"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:  # which no NaN is
                raise ValueError(f"{name} is {share}, and not from 0 to 1")
        if not math.isfinite(self.train_loss):
            raise ValueError(f"train_loss is {self.train_loss}, and no finite number")


def write_result(path: Path, result: RunResult) -> None:
    """Write result.json, whole or not at all. Errors: ValueError where a figure is not finite."""
    write_json(path, dataclasses.asdict(result), allow_nan=False)


def read_result(path: Path) -> RunResult:
    """Read result.json strictly.

    Errors: UserError where it is damaged, or has other fields than a result of this version.
    """
    try:
        return parse(RunResult, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(
            f"{path} is not a result of this version ({error}): remove it and run the table again."
        ) from error
