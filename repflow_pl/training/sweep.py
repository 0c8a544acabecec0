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
from repflow_pl.training.jobs import Job, is_finished, run_folder
from repflow_pl.training.run import Machine, WandbMode, run


@dataclass(frozen=True)
class Failed:
    """A run that ended in an error, and where its trace-back is."""

    job: Job
    reason: str
    log: Path


def sweep(jobs: Sequence[Job], video_set: VideoSet, machine: Machine) -> list[Failed]:
    """Make every run that has no result yet, in the order given; returns those that failed.

    Errors: KeyboardInterrupt on Ctrl-C; UserError where nothing can be written.
    """
    failures = []
    left = [job for job in jobs if not is_finished(machine.out, job)]
    for number, job in enumerate(left, start=1):
        label = f"[{number}/{len(left)}] {job.row} · seed {job.seed}"
        log = run_folder(machine.out, job.spec, job.seed) / "error.txt"
        log.unlink(missing_ok=True)
        try:
            result = run(job, video_set, machine, label, runs_after=len(left) - number)
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
        check_clip(video_set, job.spec.data.clip, job.spec.model.train_stream)


def prepare(jobs: Sequence[Job], video_set: VideoSet) -> None:
    """Decode, and compute TV-L1 where a run needs it, once and before any training."""
    for clip, stream in {(job.spec.data.clip, job.spec.model.train_stream): None for job in jobs}:
        ClipDataset(video_set, "test", clip, stream)


def wandb_mode() -> WandbMode:
    """Online where the user is logged in to W&B, else offline."""
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"
