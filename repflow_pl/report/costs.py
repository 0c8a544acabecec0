"""What a row costs to train: its time, from results, and its memory, from its network."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.report.collect import Collected
from repflow_pl.specs import LateSpec, RunSpec, spec_hash
from repflow_pl.training.result import read_result


@dataclass(frozen=True)
class Cost:
    """Of one row."""

    train_seconds: float | None
    """Of a run, the mean over seeds and splits; of late fusion its members' together. None where
    results are lacking."""
    kept_bytes: int
    """Of one clip, what a training step keeps for its backward pass; of late fusion, whose members
    are trained one by one, the most that one of them keeps."""


def costs_of(runs: Path, collected: Sequence[Collected], classes: int) -> list[Cost]:
    """One for each row, in their order."""
    return [
        Cost(_train_seconds(runs, entry), max(_kept(m, classes) for m in _trained(entry.row.spec)))
        for entry in collected
    ]


def _train_seconds(runs: Path, entry: Collected) -> float | None:
    seconds = []
    for spec in (entry.row.spec, *entry.row.other_splits):
        for result in entry.results:
            paths = [
                runs / spec_hash(member) / f"seed{result.seed}" / "result.json"
                for member in _trained(spec)
            ]
            if not all(path.is_file() for path in paths):
                return None
            seconds.append(sum(read_result(path).train_seconds for path in paths))
    return statistics.fmean(seconds) if seconds else None


def _trained(spec: RunSpec) -> tuple[RunSpec, ...]:
    """The runs behind a spec that are trained."""
    return spec.model.members if isinstance(spec.model, LateSpec) else (spec,)


def _kept(spec: RunSpec, classes: int) -> int:
    import torch

    from repflow_pl.data.clips import CHANNELS, FEWER
    from repflow_pl.models.build import build_model
    from repflow_pl.specs import streams_of
    from repflow_pl.training.measure import kept_for_backward

    clip = spec.data.clip
    inputs = [
        torch.zeros(1, CHANNELS[stream], clip.frames - FEWER[stream], *clip.crop)
        for stream in streams_of(spec.model)
    ]
    return kept_for_backward(build_model(spec.model, classes), inputs)
