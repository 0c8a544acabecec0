"""The loop behind every table: what can be made is started in a place; a failed run fails alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Protocol

from repflow_pl.data.index import VideoSet
from repflow_pl.errors import UserError
from repflow_pl.launching.order import Order, order_of
from repflow_pl.launching.outcome import (
    BUSY,
    DONE,
    FAILED,
    MISTAKE,
    Ended,
    Failed,
    checkpoint_time,
    failure_time,
    read_failure,
    write_failure,
)
from repflow_pl.launching.overview import Overview
from repflow_pl.training.following.wandb_client import hear
from repflow_pl.training.planning.jobs import Job, is_made, ready
from repflow_pl.training.planning.machine import Machine

WAITING = "waiting for runs that another sweep is making"


class Place(Protocol):
    """Where runs are made: this process, others beside it, jobs of a cluster."""

    look: float
    """Seconds between two looks at what can be started."""

    def room(self) -> int:
        """How many runs can be started now."""

    def start(self, orders: Sequence[Order]) -> None:
        """Begin as many or fewer. Errors: UserError where the place cannot make them."""

    def watch(self, tell: Callable[[int, str], None]) -> list[Ended]:
        """Wait a moment; hand on the lines of progress, each with its order's number."""

    def stop(self) -> None:
        """Whatever ended the sweep: end what is being made, which has a while to be saved."""


def make_all(
    jobs: Sequence[Job], video_sets: Sequence[VideoSet], machine: Machine, place: Place
) -> list[Failed]:
    """Make every run, late fusion after its parts; returns those that failed.

    `video_sets`: the splits that the runs are of; runs of all splits are made side by side.
    `machine.devices` is how many a single run takes. A run that another sweep is making is left to
    it, and looked at again when it is done there. One whose process something ended is started
    again as long as it gets on, and fails where it does not.

    Errors: KeyboardInterrupt on Ctrl-C and SIGTERM, once the place has stopped; UserError where
    nothing can be written, or the place refuses.
    """
    return _Pool(jobs, video_sets, machine, place).run()


class _Pool:
    """The runs that are left, being made and failed."""

    def __init__(
        self, jobs: Sequence[Job], video_sets: Sequence[VideoSet], machine: Machine, place: Place
    ) -> None:
        self.jobs, self.video_sets, self.machine, self.place = jobs, video_sets, machine, place
        self.left = list(jobs)
        self.running: dict[int, tuple[int, int]] = {}
        """By number: the times of the checkpoint that the run was started from, and of the failure
        that was told of it before."""
        self.failures: list[Failed] = []

    def run(self) -> list[Failed]:
        looked, waiting = float("-inf"), False
        with closing(Overview(self.machine.console, len(self.jobs))) as overview:
            try:
                while self.left or self.running:
                    if self.left and time.monotonic() - looked > self.place.look:
                        self._start_what_can_be()
                        looked = time.monotonic()
                        if not self.running and not waiting:
                            self.machine.console.print(WAITING)
                            waiting = True
                    for ended in self.place.watch(overview.tell):
                        self._end(ended)
                        done = len(self.jobs) - len(self.left) - len(self.running)
                        overview.end(ended.order.number, done, len(self.failures))
                        looked = float("-inf")
            finally:
                self.place.stop()
        return self.failures

    def _start_what_can_be(self) -> None:
        out, room = self.machine.out, self.place.room()
        running = [self.jobs[number - 1] for number in self.running]
        chosen = list(islice(ready(self.left, running, out), room))
        if not chosen:
            return
        for job in chosen:
            self.left.remove(job)
        runs_after = len(self.left) // (room + len(running))
        orders = [
            order_of(job, self.jobs, self.video_sets, self.machine, runs_after) for job in chosen
        ]
        for order in orders:
            before = checkpoint_time(out, order.job), failure_time(out, order.job)
            self.running[order.number] = before
        self.place.start(orders)

    def _end(self, ended: Ended) -> None:
        """Take leave of a run that has ended, or is to go on."""
        out, job, label = self.machine.out, ended.order.job, ended.order.label
        started_from, failed_before = self.running.pop(ended.order.number)
        failed = read_failure(out, job) if failure_time(out, job) != failed_before else None
        hear(ended.said)
        if ended.status == MISTAKE:
            lines = ended.said.splitlines()
            raise UserError(lines[-1] if lines else f"{label} could not be made.")
        if ended.status == BUSY:
            self.left.append(job)
        elif ended.status != DONE and failed:
            self.failures.append(failed)
            if ended.status != FAILED:  # its first process, which tells, was ended with another
                self._tell_failure(label, failed.reason)
        elif ended.status == DONE or is_made(out, job):
            return
        elif checkpoint_time(out, job) != started_from:
            self.machine.console.print(f"{label} · {ended.how}: it goes on from its checkpoint")
            self.left.insert(0, job)
        else:
            reason = f"{ended.how} before it got any further; the next sweep goes on with it"
            self.failures.append(write_failure(out, job, reason, ended.said))
            self._tell_failure(label, reason)

    def _tell_failure(self, label: str, reason: str) -> None:
        self.machine.console.print(f"{label} · FAILED: {reason}")
