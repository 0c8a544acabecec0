"""The results that a table rests on, kept beside the tables, so that anybody can render it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from repflow_pl.files import atomic_write
from repflow_pl.report.rows import Table
from repflow_pl.specs import spec_hash
from repflow_pl.training.result import EXTRAS, FILES


def publish(table: Table, runs: Path, seeds: Sequence[int], facts: Path, into: Path) -> None:
    """Copy a table's results, and the file of facts on its data, into another folder of runs.

    The layout stays: `<hash>/seed<k>/{result.json, spec.json, ...}` and `data/<facts>`. What is
    there already and the same is not touched.
    """
    _copy(facts, into / "data" / facts.name)
    specs = [spec for row in table.rows for spec in (row.spec, *row.other_splits)]
    for spec in specs:
        for seed in seeds:
            place = Path(spec_hash(spec)) / f"seed{seed}"
            if (runs / place / "result.json").is_file():
                for name in (*EXTRAS, *FILES):
                    _copy(runs / place / name, into / place / name)


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    content = source.read_bytes()
    if not (target.is_file() and target.read_bytes() == content):
        with atomic_write(target, "wb") as stream:
            stream.write(content)
