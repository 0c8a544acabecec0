"""One run, made by this very process: in a worker, or in the sweep's own process as a place."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import lost_a_worker
from repflow_pl.errors import INTERRUPTED, UserError
from repflow_pl.launching.order import Order, set_of
from repflow_pl.launching.outcome import (
    BUSY,
    DONE,
    FAILED,
    Ended,
    error_file,
    how_it_ended,
    write_failure,
)
from repflow_pl.training.planning.jobs import is_finished, is_made, run_folder
from repflow_pl.training.planning.lock import BusyError, held
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.planning.ranks import is_main_process
from repflow_pl.training.run import run

Begin = Callable[[Order], None]
NOTICED = 6.0
"""Seconds in which Lightning, which looks at a run's processes every 5, has ended all of them where
one has failed or was ended."""


class Here:
    """This process, one run at a time: a `pool.Place`.

    `begin`: under torchrun, called when a run begins, for the other processes to make it too.
    """

    look = 1.0

    def __init__(
        self, video_sets: Sequence[VideoSet], machine: Machine, begin: Begin | None = None
    ) -> None:
        self.video_sets, self.machine, self.begin = video_sets, machine, begin
        self.ended: list[Ended] = []

    def room(self) -> int:
        return 1

    def start(self, orders: Sequence[Order]) -> None:
        for order in orders:
            status = make(order, set_of(order.job, self.video_sets), self.machine, self.begin)
            self.ended.append(Ended(order, status, how=how_it_ended(status)))

    def watch(self, tell: Callable[[int, str], None]) -> list[Ended]:
        if not self.ended:
            time.sleep(self.look)
        ended, self.ended = self.ended, []
        return ended

    def stop(self) -> None:
        """What is being made has ended by the same error or signal."""


def make(order: Order, video_set: VideoSet, machine: Machine, begin: Begin | None = None) -> int:
    """Make one run, alone in its folder; returns DONE, FAILED, BUSY where another process makes it,
    or INTERRUPTED where something ended a process that loads for it.

    Errors: KeyboardInterrupt on Ctrl-C; UserError where nothing can be written.
    """
    if not is_main_process():  # the folder is the first process's
        return _run(order, video_set, machine)
    try:
        with held(run_folder(machine.out, order.job.spec, order.job.seed)) as folder:
            return _make(folder, order, video_set, machine, begin)
    except BusyError:
        return BUSY


def _make(
    folder: Path, order: Order, video_set: VideoSet, machine: Machine, begin: Begin | None
) -> int:
    job, old = order.job, folder / "result.json"
    if is_made(machine.out, job):
        _say(machine, order, "done by another sweep")
        return DONE
    # a finished one stays, also where only its weights are made again
    if old.exists() and not is_finished(machine.out, job):
        _say(machine, order, f"{old} is damaged or not this run's: the run is made again")
        old.unlink()
    error_file(machine.out, job).unlink(missing_ok=True)
    if begin is not None:
        begin(order)
    return _run(order, video_set, machine)


def _run(order: Order, video_set: VideoSet, machine: Machine) -> int:
    try:
        result = run(order.job, video_set, machine, order.label, order.runs_after)
    except Exception as error:
        if lost_a_worker(error):
            _say(machine, order, str(error))
            return INTERRUPTED
        if isinstance(error, RuntimeError):
            _outwait(machine)
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        failed = write_failure(machine.out, order.job, reason, traceback.format_exc())
        _say(machine, order, f"FAILED: {failed.reason}")
        return FAILED
    _say(machine, order, f"done: {result.top1:.1%} of {result.videos_test} test videos")
    return DONE


def _outwait(machine: Machine) -> None:
    """Where a process of the run was lost, the others have errors of their broken connections, and
    are ended while they wait here. Whoever is left has an error of its own; the first process
    waits longest, for it ends with any other.
    """
    if machine.devices * machine.machines > 1:
        time.sleep(2 * NOTICED if is_main_process() else NOTICED)


def _say(machine: Machine, order: Order, line: str) -> None:
    machine.console.print(f"{order.label} · {line}")
