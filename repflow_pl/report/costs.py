"""What a row costs to train: time and memory, from results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.report.collect import Collected
from repflow_pl.specs import spec_hash, trained_of
from repflow_pl.training.recording.result import read_result


@dataclass(frozen=True)
class Cost:
    """Of one row."""

    train_seconds: float | None
    """Of a run, the mean over seeds and splits; of late fusion its members' together. None where
    results are lacking."""
    step_ratio: float | None
    """Of a training step on one clip, over the plain network's in turns; None where not timed."""
    kept_bytes: int | None
    """Of one clip, what a training step keeps for its backward pass; of late fusion, whose members
    are trained one by one, the most that one of them keeps. None where neither the page of times
    nor results have it."""


def costs_of(runs: Path, collected: Sequence[Collected]) -> dict[str, Cost]:
    """By row."""
    return {entry.row.name: _cost(runs, entry) for entry in collected}


def _cost(runs: Path, entry: Collected) -> Cost:
    paths = [
        [runs / spec_hash(m) / f"seed{result.seed}" / "result.json" for m in trained_of(spec)]
        for spec in (entry.row.spec, *entry.row.other_splits)
        for result in entry.results
    ]  # of each result those of the runs that were trained for it
    seconds, step, kept = None, None, None
    if paths and all(path.is_file() for each in paths for path in each):
        trainings = [[read_result(path) for path in each] for each in paths]
        seconds = statistics.fmean(sum(run.train_seconds for run in each) for each in trainings)
        sizes = [run.kept_bytes for each in trainings for run in each]
        known = [size for size in sizes if size is not None]
        kept = max(known) if len(known) == len(sizes) else None
    if entry.time is not None and entry.time.kept_bytes is not None:
        step, kept = entry.time.step_ratio, entry.time.kept_bytes
    return Cost(seconds, step, kept)
