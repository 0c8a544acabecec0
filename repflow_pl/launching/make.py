"""Many runs, one after the other; a failed one fails alone."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from repflow_pl.data.clips import ClipDataset, check_clip
from repflow_pl.data.decode import chosen_decoder
from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import check_batch
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.launching.order import Order
from repflow_pl.launching.outcome import Failed
from repflow_pl.models.build import build_model
from repflow_pl.specs import training_streams_of
from repflow_pl.training.jobs import (
    Job,
    is_finished,
    is_made,
    is_main_process,
    label_of,
    next_job,
    run_folder,
)
from repflow_pl.training.lock import BusyError, held
from repflow_pl.training.machine import Machine
from repflow_pl.training.run import run

Begin = Callable[[Order], None]
WAIT = 1.0
"""Seconds between two looks at runs that another sweep is making."""
WAITING = "waiting for runs that another sweep is making"


def sweep(
    jobs: Sequence[Job], video_set: VideoSet, machine: Machine, begin: Begin | None = None
) -> list[Failed]:
    """Make every run, in the order given; returns those that failed.

    `begin`: under torchrun, called when a run begins, for the other processes to make it too.

    A run that another sweep is making is left to it, and looked at again when it is done there.

    Errors: KeyboardInterrupt on Ctrl-C; UserError where nothing can be written.
    """
    failures = []
    left = list(jobs)
    told = False
    while left:
        job = next_job(left, [], machine.out)
        if job is None:
            if not told:
                machine.console.print(WAITING)
            told = True
            time.sleep(WAIT)
            continue
        left.remove(job)
        label = label_of(job, len(jobs) - len(left), jobs)
        try:
            failed = make(job, video_set, machine, label, len(left), begin)
        except BusyError:  # since we looked
            left.append(job)
            continue
        if failed:
            failures.append(failed)
    return failures


def make(
    job: Job,
    video_set: VideoSet,
    machine: Machine,
    label: str,
    runs_after: int,
    begin: Begin | None = None,
) -> Failed | None:
    """Make one run, alone in its folder; returns why it failed, if it did.

    Errors: BusyError where another process makes it; else as `sweep`.
    """
    if not is_main_process():  # the folder is the first process's
        run(job, video_set, machine, label, runs_after)
        return None
    folder = run_folder(machine.out, job.spec, job.seed)
    with held(folder):
        if is_made(machine.out, job):
            machine.console.print(f"{label} · done by another sweep", markup=False)
            return None
        _clear(folder, job, machine, label)
        if begin is not None:
            begin(order_of(job, video_set, machine, label, runs_after))
        try:
            result = run(job, video_set, machine, label, runs_after)
        except Exception as error:
            reason = (
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            )
            return record(job, reason, traceback.format_exc(), machine, label)
        machine.console.print(
            f"{label} · done: {result.top1:.1%} of {result.videos_test} test videos",
            markup=False,
        )
        return None


def order_of(job: Job, video_set: VideoSet, machine: Machine, label: str, runs_after: int) -> Order:
    """What another process must know to make the run as here."""
    return Order(
        job,
        video_set.name,
        str(video_set.root.absolute()),
        chosen_decoder(),
        str(machine.out.absolute()),
        machine.devices,
        machine.wandb,
        label,
        runs_after,
    )


def record(job: Job, reason: str, details: str, machine: Machine, label: str) -> Failed:
    """Keep why a run failed in its error.txt, and say so. A full disk stops the sweep here."""
    log = run_folder(machine.out, job.spec, job.seed) / "error.txt"
    failed = Failed(job, reason.splitlines()[0], log)
    with atomic_write(log) as stream:
        stream.write(f"{reason}\n\n{details}")
    machine.console.print(f"{label} · FAILED: {failed.reason}", markup=False)
    return failed


def _clear(folder: Path, job: Job, machine: Machine, label: str) -> None:
    """Remove what an earlier attempt left: its error, and a result that will not do.

    A finished one stays, also where only its weights are made again.
    """
    result = folder / "result.json"
    if result.exists() and not is_finished(machine.out, job):
        machine.console.print(
            f"{label} · {result} is damaged or not this run's: the run is made again", markup=False
        )
        result.unlink()
    (folder / "error.txt").unlink(missing_ok=True)


def check(jobs: Sequence[Job], video_set: VideoSet) -> None:
    """Refuse what no run could be made of, before the first one starts.

    Errors: UserError for an unknown backbone, block or flow parameter, for videos shorter than a
    clip, and for fewer of them than a batch has.
    """
    for job in jobs:
        check_batch(video_set, job.spec.recipe.batch)
        with torch.device("meta"):
            build_model(job.spec.model, len(video_set.classes))
        check_clip(video_set, job.spec.data.clip, training_streams_of(job.spec.model))


def prepare(jobs: Sequence[Job], video_set: VideoSet) -> None:
    """Decode, and compute TV-L1 where a run needs it, once and before any training."""
    wanted = {(job.spec.data.clip, training_streams_of(job.spec.model)): None for job in jobs}
    for clip, streams in wanted:
        ClipDataset(video_set, "test", clip, streams)
