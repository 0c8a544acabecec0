"""Many runs as job arrays of a Slurm cluster, through submitit; a failed one fails alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repflow_pl.data.index import VideoSet
from repflow_pl.errors import UserError
from repflow_pl.launching.make import WAITING, order_of, record
from repflow_pl.launching.outcome import (
    BUSY,
    DONE,
    FAILED,
    MISTAKE,
    Failed,
    checkpoint_time,
    read_failure,
)
from repflow_pl.launching.overview import Overview
from repflow_pl.launching.slurm import NO_GPU, Slurm
from repflow_pl.launching.task import Task
from repflow_pl.training.jobs import Job, is_made, label_of, next_job
from repflow_pl.training.machine import Machine

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


def slurm_executor(
    out: Path, slurm: Slurm, per_run: int, at_once: int | None
) -> submitit.SlurmExecutor:
    """What submits jobs of `per_run` GPUs each, `at_once` of them running at a time.

    Errors: UserError where submitit is not installed or there is no Slurm.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "--launcher slurm needs submitit: pip install 'repflow-pl[slurm]', or pip install "
            "submitit."
        ) from error
    try:
        executor = submitit.SlurmExecutor(folder=logs_folder(out))
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
        gres=None if slurm.gpu == NO_GPU else f"{slurm.gpu}:{per_run}",
        array_parallelism=at_once or LARGEST,
    )
    return executor


def logs_folder(out: Path) -> Path:
    """Where jobs leave <job>_0_log.out and <job>_0_log.err, beside submitit's own files."""
    return (out / "runs" / "slurm").absolute()


def run_arrays(
    jobs: Sequence[Job],
    video_set: VideoSet,
    machine: Machine,
    executor: submitit.Executor,
    cpus: int,
) -> list[Failed]:
    """Make every run in a job of its own, and wait for them; returns those that failed.

    All that can be started is submitted as one array, and what builds on it when it is there. A job
    that ended without a result is submitted again as long as its run gets on.

    Errors: KeyboardInterrupt on Ctrl-C, once all jobs are cancelled; UserError where nothing can be
    written, and where the cluster refuses a job.
    """
    return _Arrays(jobs, video_set, machine, executor, cpus).run()


@dataclass
class Submitted:
    """A run that waits in the queue or is being made."""

    job: Job
    number: int
    """From 1, of all the runs."""
    label: str
    task: submitit.Job[int]
    checkpoint: int
    """Time of the checkpoint that it started from, see `checkpoint_time`."""
    shown: int = 0
    """How many bytes of its log were looked at."""
    gone: float | None = None
    """Since when the queue does not have it; files of its last moments may still be to come."""
    lost: bool = False
    """A later look did not find it either; one look alone proves nothing."""

    def ended(self) -> bool:
        return self.lost or self.task.paths.result_pickle.exists()


class _Arrays:
    """The runs that are left, submitted and failed."""

    def __init__(
        self,
        jobs: Sequence[Job],
        video_set: VideoSet,
        machine: Machine,
        executor: submitit.Executor,
        cpus: int,
    ) -> None:
        self.jobs = jobs
        self.video_set = video_set
        self.machine = machine
        self.executor = executor
        self.cpus = cpus
        self.left = list(jobs)
        self.submitted: list[Submitted] = []
        self.failures: list[Failed] = []

    def run(self) -> list[Failed]:
        print_ = self.machine.console.print
        print_(f"the jobs' logs are in {logs_folder(self.machine.out)}", markup=False)
        with Overview(self.machine.console, len(self.jobs)) as overview, self._no_job_stays():
            looked, waiting = float("-inf"), False
            while self.left or self.submitted:
                if time.monotonic() - looked > LOOK:
                    self._submit_what_can_be()
                    self._look_at_the_queue()
                    looked = time.monotonic()
                    if not self.submitted and not waiting:
                        print_(WAITING)
                        waiting = True
                for each in list(self.submitted):
                    ended = each.ended()
                    self._tell(each, overview)
                    if ended:
                        self._end(each, overview)
                        looked = float("-inf")
                time.sleep(POLL)
        return self.failures

    def _submit_what_can_be(self) -> None:
        ready: list[Job] = []
        running = [each.job for each in self.submitted]
        while len(ready) < LARGEST and (
            job := next_job(self.left, [*running, *ready], self.machine.out)
        ):
            self.left.remove(job)
            ready.append(job)
        if not ready:
            return
        import submitit

        numbers = [self.jobs.index(job) + 1 for job in ready]
        labels = [
            label_of(job, number, self.jobs) for job, number in zip(ready, numbers, strict=True)
        ]
        checkpoints = [checkpoint_time(self.machine.out, job) for job in ready]
        # How many will run side by side, and thus how long all take, is the cluster's affair.
        tasks = [
            Task(order_of(job, self.video_set, self.machine, label, runs_after=0), self.cpus)
            for job, label in zip(ready, labels, strict=True)
        ]
        try:
            submitted = self.executor.submit_array(tasks)
        except submitit.core.utils.FailedJobError as error:
            said = " ".join(str(error).split()) or "sbatch failed"
            raise UserError(
                f"the cluster refused the jobs ({said}): see the options --slurm.* in --help."
            ) from error
        for job, number, label, checkpoint, task in zip(
            ready, numbers, labels, checkpoints, submitted, strict=True
        ):
            self.submitted.append(Submitted(job, number, label, task, checkpoint))
            self.machine.console.print(f"{label} · job {task.job_id}", markup=False)

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

    def _tell(self, each: Submitted, overview: Overview) -> None:
        """Show what the worker printed since the last time; whole lines, and none of submitit's."""
        path = each.task.paths.stdout
        if not path.exists():
            return
        with path.open("rb") as stream:
            stream.seek(each.shown)
            new = stream.read().rpartition(b"\n")
        each.shown += len(new[0]) + len(new[1])
        for line in new[0].decode(errors="replace").splitlines():
            if line.startswith(each.label):
                overview.tell(each.number, line)

    def _end(self, each: Submitted, overview: Overview) -> None:
        """Take leave of a job that has ended."""
        import submitit

        self.submitted.remove(each)
        status = None
        if each.task.paths.result_pickle.exists():
            try:
                status = each.task.result()
            except submitit.core.utils.UncompletedJobError:  # what was called failed by itself
                status = None
        said = (each.task.stderr() or "").strip()
        if status == MISTAKE:
            raise UserError(said.splitlines()[-1] if said else f"{each.label} could not be made.")
        if status == BUSY:
            self.left.append(each.job)
        elif status == FAILED and (failed := read_failure(self.machine.out, each.job)):
            self.failures.append(failed)
        elif status != DONE and not is_made(self.machine.out, each.job):
            self._after_a_crash(each, said)
        ended = len(self.jobs) - len(self.left) - len(self.submitted)
        overview.free(each.number, ended, len(self.failures))

    def _after_a_crash(self, each: Submitted, said: str) -> None:
        last = said.splitlines()[-1] if said else "it said nothing"
        if checkpoint_time(self.machine.out, each.job) != each.checkpoint:
            self.machine.console.print(
                f"{each.label} · job {each.task.job_id} ended ({last}): "
                "it goes on from its checkpoint",
                markup=False,
            )
            self.left.insert(0, each.job)
            return
        reason = f"job {each.task.job_id} ended before it got any further ({last})"
        details = f"{each.task.paths.stderr}:\n{said}"
        self.failures.append(record(each.job, reason, details, self.machine, each.label))

    @contextmanager
    def _no_job_stays(self) -> Iterator[None]:
        """Whatever ends the sweep cancels its jobs; a lost connection, which ends it at once, does
        not."""
        try:
            yield
        finally:
            cancel([each.task for each in self.submitted])
            if self.submitted:
                self.machine.console.print(f"{len(self.submitted)} jobs are cancelled.")


def cancel(tasks: Sequence[submitit.Job[int]]) -> None:
    """Take them from the cluster, by one call: a thousand take minutes."""
    import submitit

    slurm = [task.job_id for task in tasks if isinstance(task, submitit.SlurmJob)]
    if slurm:
        subprocess.run(["scancel", *slurm], check=False)
    for task in tasks:
        if not isinstance(task, submitit.SlurmJob):
            task.cancel(check=False)


def still_there(tasks: Sequence[submitit.Job[int]]) -> set[str]:
    """The ids of those that wait or run.

    Asked of squeue: sacct, which submitit asks, needs an accounting data base that small clusters
    do not have.
    """
    import submitit

    slurm = [task.job_id for task in tasks if isinstance(task, submitit.SlurmJob)]
    there = {
        task.job_id for task in tasks if not isinstance(task, submitit.SlurmJob) and not task.done()
    }
    if slurm:
        command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
        listed = subprocess.run(command, capture_output=True, text=True)
        # a queue that does not answer just now says nothing about the jobs
        there |= set(listed.stdout.split()) if listed.returncode == 0 else set(slurm)
    return there
