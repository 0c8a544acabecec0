"""Find a row's results: `runs/<spec hash>/seed<k>/result.json`, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repflow_pl.errors import UserError
from repflow_pl.report.rows import Row
from repflow_pl.specs import spec_hash
from repflow_pl.training.result import RunResult, read_result

State = Literal["done", "partial", "FAILED", "missing"]


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
    def top1(self) -> dict[int, float]:
        """Video accuracy by seed."""
        return {result.seed: result.top1 for result in self.results}


def collect(runs: Path, row: Row, seeds: Sequence[int]) -> Collected:
    """Read a row's results; a seed without one is missing, or failed where error.txt says why.

    A result wins over an error beside it: the run was tried again and ended well.
    Errors: UserError where a result is damaged or stands in another run's place.
    """
    name = spec_hash(row.spec)
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
    return Collected(row, tuple(results), tuple(failures), tuple(missing))


def _reason(path: Path) -> str:
    """The first line of error.txt, folders cut off: tables are published, a user's paths not."""
    lines = path.read_text(errors="replace").strip().splitlines()
    reason = lines[0].strip() if lines else "no reason was written"
    return re.sub(r"(?<![\w:/.])~?/(?:[^\s/'\"]+/)+", "", reason)
