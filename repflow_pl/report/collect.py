"""Find a row's results: `runs/<spec hash>/seed<k>/result.json`, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from repflow_pl.errors import UserError
from repflow_pl.report.rows import Row
from repflow_pl.report.stats import Answers
from repflow_pl.report.times_beside import RowTime
from repflow_pl.specs import RunSpec, spec_hash
from repflow_pl.training.recording.predictions import PREDICTIONS, Predictions, read_predictions
from repflow_pl.training.recording.result import RunResult, read_result

State = Literal["done", "partial", "FAILED", "missing"]

_AVERAGED = ("top1", "top5", "clip_top1", "clip_top5", "val_top1", "train_loss")
_ADDED_UP = (
    "videos_train", "videos_val", "videos_test", "videos_broken", "videos_missing", "videos_unread",
    "train_seconds", "test_seconds",
)  # fmt: skip
"""What becomes of a result's figures where a row is the average of several splits."""


@dataclass(frozen=True)
class Failure:
    """A run that ended in an error."""

    seed: int
    reason: str


@dataclass(frozen=True)
class Collected:
    """A row, its results in the order of the seeds asked for, and what is not there."""

    row: Row
    results: tuple[RunResult, ...]
    failures: tuple[Failure, ...] = ()
    missing: tuple[int, ...] = ()
    predictions: tuple[tuple[Predictions, ...], ...] = ()
    """Of each split those of each result; empty where a run did not keep them."""
    time: RowTime | None = None
    """Of a clip, taken in turns with the table's other rows; None where that was not done."""

    def answers(self, best: int = 1, seeds: Collection[int] | None = None) -> list[Answers]:
        """Of each split, whether the true class was among the `best`, of all seeds or some; empty
        where a run did not keep its predictions. A video that could not be read is wrong, also
        where there are fewer classes than `best`."""
        kept = [k for k, r in enumerate(self.results) if seeds is None or r.seed in seeds]
        found = []
        for split in self.predictions:
            most = min(best, split[0].scores.shape[1])
            right = np.stack([split[k].rank < most for k in kept]).astype(float)
            found.append(Answers(right, split[0].group))
        return found

    @property
    def asked(self) -> int:
        """How many seeds were asked for."""
        return len(self.results) + len(self.failures) + len(self.missing)

    @property
    def state(self) -> State:
        """`partial` has some results; `FAILED` and `missing` have none."""
        if self.results:
            return "partial" if self.failures or self.missing else "done"
        return "FAILED" if self.failures else "missing"

    @property
    def videos(self) -> frozenset[str]:
        """The lists of videos that the results are of."""
        return frozenset(result.fingerprint for result in self.results)

    @property
    def videos_test(self) -> int:
        """Test videos of all splits together; 0 without any result."""
        return self.results[0].videos_test if self.results else 0

    @property
    def top1(self) -> dict[int, float]:
        """Video accuracy by seed."""
        return {result.seed: result.top1 for result in self.results}


def collect(runs: Path, row: Row, seeds: Sequence[int]) -> Collected:
    """Read a row's results, averaged over its splits where it has several.

    A seed that lacks a split is missing, or failed where that split did.
    Errors: UserError where a result is damaged or stands in another run's place.
    """
    splits = [_collect_split(runs, row, spec, seeds) for spec in (row.spec, *row.other_splits)]
    if len(splits) == 1:
        return splits[0]
    failures = {failure.seed: failure for split in splits for failure in split.failures}
    results, missing = [], []
    for seed in dict.fromkeys(seeds):
        found = [result for split in splits for result in split.results if result.seed == seed]
        if len(found) == len(splits):
            results.append(average(found))
        elif seed not in failures:
            missing.append(seed)
    return Collected(
        row, tuple(results), tuple(failures.values()), tuple(missing), _of_splits(splits, results)
    )


def seeds_of(runs: Path, spec: RunSpec) -> set[int]:
    """The seeds of which a spec has a result; a folder of any other name is none of a run's."""
    names = [path.parent.name for path in (runs / spec_hash(spec)).glob("seed*/result.json")]
    return {int(name[4:]) for name in names if re.fullmatch("seed(0|[1-9][0-9]*)", name)}


def whole_seeds(runs: Path, row: Row) -> set[int]:
    """The seeds of which a row has a result on each of its splits."""
    return set.intersection(*(seeds_of(runs, s) for s in (row.spec, *row.other_splits)))


def average(splits: Sequence[RunResult]) -> RunResult:
    """One seed's results on all splits as one: accuracies and losses averaged, counts and times
    added up, speed as measured on the first split."""
    first = splits[0]
    found = {name: [getattr(result, name) for result in splits] for name in vars(first)}
    joint: dict[str, Any] = {name: mean_of_all(found[name]) for name in _AVERAGED}
    joint |= {name: sum(found[name]) for name in _ADDED_UP}
    joint |= {name: "+".join(found[name]) for name in ("fingerprint", "manifest")}
    return dataclasses.replace(first, **joint)


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """None where one is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _collect_split(runs: Path, row: Row, spec: RunSpec, seeds: Sequence[int]) -> Collected:
    """Read one spec's results; a seed without one is missing, or failed where error.txt says why.

    A result wins over an error beside it: the run was tried again and ended well.
    Errors: UserError where a result is damaged or stands in another run's place.
    """
    name = spec_hash(spec)
    results, failures, missing = [], [], []
    for seed in dict.fromkeys(seeds):
        folder = runs / name / f"seed{seed}"
        path = folder / "result.json"
        if path.is_file():
            result = read_result(path)
            if (result.spec, result.seed) != (name, seed):
                raise UserError(
                    f"{path} belongs to run {result.spec}, seed {result.seed}: "
                    "remove it and run the table again."
                )
            results.append(result)
        elif (folder / "error.txt").is_file():
            failures.append(Failure(seed, _reason(folder / "error.txt")))
        else:
            missing.append(seed)
    kept = [runs / name / f"seed{result.seed}" / PREDICTIONS for result in results]
    there = bool(kept) and all(path.is_file() for path in kept)
    predictions = (tuple(map(read_predictions, kept)),) if there else ()
    return Collected(row, tuple(results), tuple(failures), tuple(missing), predictions)


def _of_splits(
    splits: Sequence[Collected], results: Sequence[RunResult]
) -> tuple[tuple[Predictions, ...], ...]:
    """The predictions of the seeds that all splits have; empty where any are lacking."""
    if not results or not all(split.predictions for split in splits):
        return ()
    by_seed = [
        dict(zip((r.seed for r in split.results), split.predictions[0], strict=True))
        for split in splits
    ]
    return tuple(tuple(found[result.seed] for result in results) for found in by_seed)


def _reason(path: Path) -> str:
    """The first line of error.txt, folders cut off: tables are published, a user's paths not."""
    lines = path.read_text("utf-8", "replace").strip().splitlines()
    reason = lines[0].strip() if lines else "no reason was written"
    reason = re.sub(r"(?<=['\"])~?/[^'\"]*/", "", reason)  # whole in quotes, also with spaces
    return re.sub(r"(?<![\w:/.])~?/(?:[^\s/'\"]+/)+", "", reason)
