"""Which runs a table needs, in which order, and where each one lives. Imports no trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.errors import UserError
from repflow_pl.specs import LateSpec, RunSpec, spec_hash
from repflow_pl.training.planning.lock import is_held
from repflow_pl.training.recording.predictions import PREDICTIONS
from repflow_pl.training.recording.result import read_result


@dataclass(frozen=True)
class Job:
    """One run to make: a row of a table with one seed."""

    table: str
    row: str
    spec: RunSpec
    seed: int

    @property
    def run(self) -> str:
        """`<hash>/seed<k>`, its folder in runs/: rows of several names may ask for one run."""
        return f"{spec_hash(self.spec)}/seed{self.seed}"


def run_folder(out: Path, spec: RunSpec, seed: int) -> Path:
    """Where a run keeps spec.json, last.ckpt, previous.ckpt and result.json."""
    return out / "runs" / spec_hash(spec) / f"seed{seed}"


def is_finished(out: Path, job: Job) -> bool:
    """Whether the job has a result of its own that can be read."""
    return has_result(out / "runs", job.spec, job.seed)


def has_result(runs: Path, spec: RunSpec, seed: int) -> bool:
    """The same, of a folder of runs."""
    try:
        result = read_result(runs / spec_hash(spec) / f"seed{seed}" / "result.json")
    except (FileNotFoundError, UserError):
        return False
    return (result.spec, result.seed) == (spec_hash(spec), seed)


def is_made(out: Path, job: Job) -> bool:
    """Whether it is finished and its weights are here, where it has any of its own."""
    trained = isinstance(job.spec.model, LateSpec) or has_weights(out, job)
    return trained and is_finished(out, job)


def has_weights(out: Path, job: Job) -> bool:
    """Whether the job's checkpoint is there, and of the end of its training.

    One of amid it lies beside a result where the weights were gone and are being made again. One
    that is damaged passes: who needs it says so.
    """
    import torch  # late: a command line starts without it

    path = run_folder(out, job.spec, job.seed) / "last.ckpt"
    try:
        place = torch.load(path, map_location="meta", weights_only=True, mmap=True)["ClipModule"]
        return bool(place["epoch"] >= job.spec.recipe.epochs)
    except FileNotFoundError:
        return False
    except Exception:
        return True


def member_runs(job: Job) -> tuple[Job, ...]:
    """The runs whose probabilities a late-fusion job averages; none for any other job."""
    if not isinstance(job.spec.model, LateSpec):
        return ()
    return tuple(
        dataclasses.replace(job, row=f"{job.row}: part {number}", spec=member)
        for number, member in enumerate(job.spec.model.members, start=1)
    )


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """Every run once, where it is first asked for, the runs that another one builds on before it.

    A run that rows of its own ask for keeps the first one's name.
    """
    asked: dict[str, Job] = {}
    for job in jobs:
        asked.setdefault(job.run, job)
    in_order: dict[str, Job] = {}
    for job in asked.values():
        for needed in (*member_runs(job), job):
            in_order.setdefault(needed.run, asked.get(needed.run, needed))
    return list(in_order.values())


def left_to_do(out: Path, jobs: Sequence[Job]) -> list[Job]:
    """The jobs without a result, and those to be made again because one of them builds on them.

    Results travel without checkpoints: copied from elsewhere, they are enough for a row of their
    own, and for one that builds on them where they kept their answers.
    """
    undone = [job for job in jobs if not is_finished(out, job)]
    again = {part.run for job in undone for part in _to_be_made_again(out, member_runs(job))}
    return [job for job in jobs if job in undone or job.run in again]


def keeps_answers(out: Path, job: Job) -> bool:
    """Whether it is finished and what each test video was given is beside its result."""
    there = (run_folder(out, job.spec, job.seed) / PREDICTIONS).is_file()
    return there and is_finished(out, job)


def is_joined_from_answers(out: Path, job: Job) -> bool:
    """Whether it is a late fusion of which not all weights are here, but all answers."""
    parts = member_runs(job)
    weights = all(is_made(out, part) for part in parts)
    return not weights and all(keeps_answers(out, part) for part in parts)


def _to_be_made_again(out: Path, parts: Sequence[Job]) -> list[Job]:
    """Of a late fusion's: none where the answers of all are kept, or will be with the result."""
    if all(keeps_answers(out, part) or not is_finished(out, part) for part in parts):
        return []
    return [part for part in parts if not has_weights(out, part)]


def ready(left: Sequence[Job], running: Sequence[Job], out: Path) -> Iterator[Job]:
    """Those that can be started: their parts are neither left nor running, and no other process
    makes them."""
    unmade = {job.run for job in (*left, *running)}
    for job in left:
        parts = {part.run for part in member_runs(job)}
        if not parts & unmade and not is_held(run_folder(out, job.spec, job.seed)):
            yield job


def label_of(job: Job, number: int, jobs: Sequence[Job]) -> str:
    """How a job is called in lines of progress: `number` of all the jobs."""
    table = f"{job.table}: " if len({job.table for job in jobs}) > 1 else ""
    several = len({job.spec.data.split for job in jobs}) > 1
    split = f" · split {job.spec.data.split}" if several else ""
    return f"[{number}/{len(jobs)}] {table}{job.row} · seed {job.seed}{split}"
