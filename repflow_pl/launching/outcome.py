"""How the process that makes a run ended, and what is left of it. Imports no trainer."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.errors import INTERRUPTED
from repflow_pl.training.jobs import Job, run_folder

DONE, FAILED, MISTAKE, BUSY = 0, 1, 2, 75
"""Exit status: made; failed, as error.txt says; cannot be made, as the last line says; another
process has the folder. INTERRUPTED: ended by a signal, to be gone on with."""


@dataclass(frozen=True)
class Failed:
    """A run that ended in an error, and where its trace-back is."""

    job: Job
    reason: str
    log: Path


def how_it_ended(status: int) -> str:
    """The exit status of a process that ended by none of the above, in words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return "was ended by a signal" if status == INTERRUPTED else f"ended with status {status}"


def read_failure(out: Path, job: Job) -> Failed | None:
    """What a worker wrote on why the run failed, if it did."""
    log = run_folder(out, job.spec, job.seed) / "error.txt"
    if not log.is_file():
        return None
    return Failed(job, log.read_text(encoding="utf-8").partition("\n")[0], log)


def checkpoint_time(out: Path, job: Job) -> int:
    """When the last checkpoint was written, in nanoseconds; 0 where there is none."""
    path = run_folder(out, job.spec, job.seed) / "last.ckpt"
    return path.stat().st_mtime_ns if path.exists() else 0
