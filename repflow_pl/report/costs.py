"""What a row costs to train: time and memory, from results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.report.collect import Collected
from repflow_pl.specs import LateSpec, RunSpec, spec_hash
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
    seconds, kept = _of_results(runs, entry)
    if entry.time is None or entry.time.kept_bytes is None:
        return Cost(seconds, None, kept)
    return Cost(seconds, entry.time.step_ratio, entry.time.kept_bytes)


def _of_results(runs: Path, entry: Collected) -> tuple[float | None, int | None]:
    """Seconds of training, and bytes kept."""
    trainings = []
    """Of each result, those of the runs that were trained for it."""
    for spec in (entry.row.spec, *entry.row.other_splits):
        for result in entry.results:
            paths = [
                runs / spec_hash(member) / f"seed{result.seed}" / "result.json"
                for member in _trained(spec)
            ]
            if not all(path.is_file() for path in paths):
                return None, None
            trainings.append([read_result(path) for path in paths])
    if not trainings:
        return None, None
    kept = [run.kept_bytes for runs_of_one in trainings for run in runs_of_one]
    known = [size for size in kept if size is not None]
    seconds = statistics.fmean(sum(run.train_seconds for run in each) for each in trainings)
    return seconds, max(known) if len(known) == len(kept) else None


def _trained(spec: RunSpec) -> tuple[RunSpec, ...]:
    """The runs behind a spec that are trained."""
    return spec.model.members if isinstance(spec.model, LateSpec) else (spec,)
