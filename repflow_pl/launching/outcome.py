"""How the making of a run ended, and what is left of it. Imports no trainer."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.errors import INTERRUPTED
from repflow_pl.files import atomic_write
from repflow_pl.launching.order import Order
from repflow_pl.training.planning.jobs import Job, run_folder

DONE, FAILED, MISTAKE, BUSY = 0, 1, 2, 75
"""Exit status: made; failed, as error.txt says; cannot be made, as the last line says; another
process has the folder. INTERRUPTED: ended by a signal, to be gone on with."""


@dataclass(frozen=True)
class Ended:
    """How the process that was to make a run ended."""

    order: Order
    status: int | None
    """One of the above; another one, or None, where something ended the process."""
    said: str = ""
    """Its standard error."""
    how: str = ""
    """In words, for where something ended it."""


@dataclass(frozen=True)
class Failed:
    """A run that ended in an error, and where its trace-back is."""

    job: Job
    reason: str
    log: Path


def how_it_ended(status: int) -> str:
    """What ended a run that ended by none of the statuses above, in words."""
    how = "was ended by a signal" if status == INTERRUPTED else f"ended with status {status}"
    if status < 0:
        how = f"was ended by {signal.Signals(-status).name}"
    return f"a process of the run {how}"


def error_file(out: Path, job: Job) -> Path:
    """Where it is kept why a run failed: the reason in the first line."""
    return run_folder(out, job.spec, job.seed) / "error.txt"


def write_failure(out: Path, job: Job, reason: str, details: str) -> Failed:
    """Keep why a run failed. Errors: UserError where nothing can be written."""
    log = error_file(out, job)
    with atomic_write(log) as stream:
        stream.write(f"{reason}\n\n{details}")
    return Failed(job, reason.splitlines()[0], log)


def read_failure(out: Path, job: Job) -> Failed | None:
    """Why the run failed, if it did."""
    log = error_file(out, job)
    if not log.is_file():
        return None
    return Failed(job, log.read_text(encoding="utf-8").partition("\n")[0], log)


def failure_time(out: Path, job: Job) -> int:
    """When it was last written why the run failed, in nanoseconds; 0 where that was not."""
    return _written(error_file(out, job))


def checkpoint_time(out: Path, job: Job) -> int:
    """When the last checkpoint was written, in nanoseconds; 0 where there is none."""
    return _written(run_folder(out, job.spec, job.seed) / "last.ckpt")


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
