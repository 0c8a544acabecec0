"""Many runs as job arrays of a Slurm cluster, through submitit. Imports no trainer."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repflow_pl.errors import UserError
from repflow_pl.extras import load
from repflow_pl.launching.order import Order
from repflow_pl.launching.outcome import Ended
from repflow_pl.launching.task import Task
from repflow_pl.training.planning.machine import Machine

if TYPE_CHECKING:
    import submitit

LARGEST = 1000
"""Tasks of an array, as Slurm is set up by default."""
POLL = 1.0
"""Seconds between two looks at the logs."""
LATE = 15.0
"""Seconds until a file that a job wrote is seen here, on shared folders."""
LOOK = 20.0
"""Seconds between two looks at the queue, and at runs that another sweep is making."""


@dataclass(frozen=True)
class Slurm:
    """A job of a run; what sbatch knows beyond this is set by its variables, as SBATCH_QOS."""

    partition: str | None = None
    """Partition; by default the cluster's."""
    account: str | None = None
    """Account that is charged; by default yours."""
    minutes: int = 720
    """Time limit of a job. A run that takes longer is queued again and goes on from where
    it was."""
    cpus: int = 8
    """CPU cores for each GPU."""
    mem: str | None = None
    """Memory of a job, for instance 64GB; by default the partition's."""
    gpu: str = "gpu"
    """What the cluster calls its GPUs, for instance gpu:a100; none: runs are made without."""

    def __post_init__(self) -> None:
        if min(self.minutes, self.cpus) < 1:
            raise UserError("--slurm.minutes and --slurm.cpus are counts of 1 or more.")


def slurm_executor(
    out: Path, slurm: Slurm, per_run: int, at_once: int | None
) -> submitit.SlurmExecutor:
    """What submits jobs of `per_run` GPUs each, `at_once` of them running at a time.

    Errors: UserError where submitit is not installed or there is no Slurm.
    """
    try:
        executor: submitit.SlurmExecutor = load("submitit").SlurmExecutor(folder=logs_folder(out))
    except RuntimeError as error:
        raise UserError(
            "--launcher slurm: there is no Slurm here (no srun is found); run the command on a "
            "machine of the cluster."
        ) from error
    executor.update_parameters(
        job_name="repflow",
        partition=slurm.partition,
        account=slurm.account,
        time=slurm.minutes,
        cpus_per_task=slurm.cpus * per_run,
        mem=slurm.mem,
        gres=None if slurm.gpu == "none" else f"{slurm.gpu}:{per_run}",
        array_parallelism=at_once or LARGEST,
    )
    return executor


def logs_folder(out: Path) -> Path:
    """Where jobs leave <job>_0_log.out and <job>_0_log.err, beside submitit's own files."""
    return (out / "runs" / "slurm").absolute()


@dataclass
class Submitted:
    """A run that waits in the queue or is being made."""

    order: Order
    task: submitit.Job[int]
    shown: int = 0
    """How many bytes of its log were looked at."""
    gone: float | None = None
    """Since when the queue does not have it; files of its last moments may still be to come."""
    lost: bool = False
    """A later look did not find it either; one look alone proves nothing."""

    def ended(self) -> bool:
        return self.lost or self.task.paths.result_pickle.exists()


class Arrays:
    """Each run a job of its own; all that can be started is submitted as one array. A
    `pool.Place`."""

    def __init__(self, machine: Machine, executor: submitit.Executor, cpus: int) -> None:
        self.console, self.executor, self.cpus = machine.console, executor, cpus
        self.submitted: list[Submitted] = []
        self.look = LOOK
        self.looked = time.monotonic()
        self.console.print(f"the jobs' logs are in {logs_folder(machine.out)}")

    def room(self) -> int:
        return LARGEST  # how many of them run is the cluster's affair

    def start(self, orders: Sequence[Order]) -> None:
        import submitit

        try:
            tasks = self.executor.submit_array([Task(order, self.cpus) for order in orders])
        except submitit.core.utils.FailedJobError as error:
            said = " ".join(str(error).split()) or "sbatch failed"
            raise UserError(
                f"the cluster refused the jobs ({said}): see the options --slurm.* in --help."
            ) from error
        for order, task in zip(orders, tasks, strict=True):
            self.submitted.append(Submitted(order, task))
            self.console.print(f"{order.label} · job {task.job_id}")

    def watch(self, tell: Callable[[int, str], None]) -> list[Ended]:
        time.sleep(POLL)
        if time.monotonic() - self.looked > LOOK:
            self._look_at_the_queue()
            self.looked = time.monotonic()
        ended = [each for each in self.submitted if each.ended()]
        for each in self.submitted:
            _tell_new_lines(each, tell)
        self.submitted = [each for each in self.submitted if each not in ended]
        return [_leave(each) for each in ended]

    def _look_at_the_queue(self) -> None:
        there = still_there([each.task for each in self.submitted])
        now = time.monotonic()
        for each in self.submitted:
            if each.task.job_id in there:
                each.gone = None
            elif each.gone is None:
                each.gone = now
            else:
                each.lost = now - each.gone > LATE

    def stop(self) -> None:
        """Cancel the jobs, by one call: a thousand take minutes. A lost connection, which ends the
        sweep at once, cancels none."""
        if self.submitted:
            subprocess.run(["scancel", *(each.task.job_id for each in self.submitted)], check=False)
            self.console.print(f"{len(self.submitted)} jobs are cancelled.")


def _tell_new_lines(each: Submitted, tell: Callable[[int, str], None]) -> None:
    """What the worker printed since the last time; whole lines, and none of submitit's."""
    path = each.task.paths.stdout
    if not path.exists():
        return
    with path.open("rb") as stream:
        stream.seek(each.shown)
        lines, newline, _ = stream.read().rpartition(b"\n")
    each.shown += len(lines) + len(newline)
    for line in lines.decode(errors="replace").splitlines():
        if line.startswith(each.order.label):
            tell(each.order.number, line)


def _leave(each: Submitted) -> Ended:
    """Take leave of a job that has ended."""
    import submitit

    said = (each.task.stderr() or "").strip()
    if each.task.paths.result_pickle.exists():
        with suppress(submitit.core.utils.UncompletedJobError):  # what was called failed by itself
            return Ended(each.order, each.task.result(), said)
    last = said.splitlines()[-1] if said else "it said nothing"
    how = f"job {each.task.job_id} ended ({last})"
    return Ended(each.order, None, f"{each.task.paths.stderr}:\n{said}", how)


def still_there(tasks: Sequence[submitit.Job[int]]) -> set[str]:
    """The ids of those that wait or run.

    Asked of squeue: sacct, which submitit asks, needs an accounting data base that small clusters
    do not have.
    """
    command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:  # which says nothing about the jobs
        return {task.job_id for task in tasks}
    return set(listed.stdout.split())
