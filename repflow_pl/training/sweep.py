"""Many runs, one after the other; a failed one fails alone."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from repflow_pl.data.clips import ClipDataset, check_clip
from repflow_pl.data.index import VideoSet
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.models.build import build_model
from repflow_pl.specs import training_streams_of
from repflow_pl.training.jobs import Job, run_folder
from repflow_pl.training.run import Machine, WandbMode, run


@dataclass(frozen=True)
class Failed:
    """A run that ended in an error, and where its trace-back is."""

    job: Job
    reason: str
    log: Path


def sweep(jobs: Sequence[Job], video_set: VideoSet, machine: Machine) -> list[Failed]:
    """Make every run, in the order given; returns those that failed.

    A result that is there already goes: its run has to be made again.

    Errors: KeyboardInterrupt on Ctrl-C; UserError where nothing can be written.
    """
    failures = []
    several = len({job.table for job in jobs}) > 1
    for number, job in enumerate(jobs, start=1):
        table = f"{job.table}: " if several else ""
        label = f"[{number}/{len(jobs)}] {table}{job.row} · seed {job.seed}"
        log = run_folder(machine.out, job.spec, job.seed) / "error.txt"
        log.unlink(missing_ok=True)
        log.with_name("result.json").unlink(missing_ok=True)
        try:
            result = run(job, video_set, machine, label, runs_after=len(jobs) - number)
        except Exception as error:
            reason = (
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            )
            failures.append(Failed(job, reason.splitlines()[0], log))
            with atomic_write(log) as stream:  # a full disk stops the sweep here
                stream.write(f"{reason}\n\n{traceback.format_exc()}")
            machine.console.print(f"{label} · FAILED: {failures[-1].reason}", markup=False)
        else:
            machine.console.print(
                f"{label} · done: {result.top1:.1%} of {result.videos_test} test videos",
                markup=False,
            )
    return failures


def check(jobs: Sequence[Job], video_set: VideoSet) -> None:
    """Refuse what no run could be made of, before the first one starts.

    Errors: UserError for an unknown backbone, block or flow parameter, and for videos shorter than
    a clip.
    """
    for job in jobs:
        with torch.device("meta"):
            build_model(job.spec.model, len(video_set.classes))
        check_clip(video_set, job.spec.data.clip, training_streams_of(job.spec.model))


def prepare(jobs: Sequence[Job], video_set: VideoSet) -> None:
    """Decode, and compute TV-L1 where a run needs it, once and before any training."""
    wanted = {(job.spec.data.clip, training_streams_of(job.spec.model)): None for job in jobs}
    for clip, streams in wanted:
        ClipDataset(video_set, "test", clip, streams)


def wandb_mode() -> WandbMode:
    """Online where the user is logged in to W&B, else offline."""
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"
