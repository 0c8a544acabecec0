"""The results that a published table rests on, kept beside it, so that anybody can render it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from repflow_pl.report.collect import seeds_of
from repflow_pl.report.page import write
from repflow_pl.report.rows import Table
from repflow_pl.specs import spec_hash, trained_of
from repflow_pl.training.recording.result import EXTRAS, FILES

State = Literal["new", "renewed", "kept", "the same"]


def unite(table: Table, runs: Path, into: Path) -> Counter[State]:
    """Add a table's results in `runs` to another folder of runs; how many came, and how.

    With a late fusion come those of its members, which need not be rows.
    The layout stays: `<hash>/seed<k>/{result.json, spec.json, ...}`. Nothing is taken away: a
    result of the same run and seed is replaced, unless it has files that the new one lacks.
    """
    shown = [spec for row in table.rows for spec in (row.spec, *row.other_splits)]
    specs = {spec_hash(each): each for spec in shown for each in (*trained_of(spec), spec)}
    return Counter(
        _bring(runs / name / f"seed{seed}", into / name / f"seed{seed}")
        for name, spec in specs.items()
        for seed in sorted(seeds_of(runs, spec))
    )


def _bring(run: Path, place: Path) -> State:
    there, new = dict(_files(place)), dict(_files(run))
    if there == new:
        return "the same"
    if not set(there) <= set(new):
        return "kept"
    for name, content in new.items():
        write(place / name, content)
    return "renewed" if there else "new"


def _files(run: Path) -> Iterator[tuple[str, bytes]]:
    """What of a run is for others; result.json last, for it is what makes a run one."""
    for name in (*EXTRAS, *reversed(FILES)):
        if (run / name).is_file():
            yield name, (run / name).read_bytes()
