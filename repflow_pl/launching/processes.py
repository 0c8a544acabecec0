"""Many runs side by side on one machine, each in a process of its own; a failed one fails alone."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from repflow_pl.data.index import VideoSet
from repflow_pl.ending import SAVING
from repflow_pl.errors import UserError
from repflow_pl.launching.make import WAIT, WAITING, order_of, record
from repflow_pl.launching.order import share_of_cores, write_order
from repflow_pl.launching.outcome import (
    BUSY,
    DONE,
    FAILED,
    MISTAKE,
    Failed,
    checkpoint_time,
    how_it_ended,
    read_failure,
)
from repflow_pl.launching.overview import Overview
from repflow_pl.training.jobs import Job, label_of, next_job
from repflow_pl.training.machine import Machine
from repflow_pl.training.ranks import chosen_gpus


@dataclass(frozen=True)
class Slot:
    """A share of the machine, on which one run is made at a time."""

    number: int
    """From 1."""
    environment: dict[str, str]


@dataclass(frozen=True)
class Child:
    """A run that is being made."""

    job: Job
    label: str
    slot: Slot
    process: subprocess.Popen[str]
    reader: threading.Thread
    errors: IO[bytes]
    checkpoint: int
    """Time of the checkpoint that it started from, see `checkpoint_time`."""


@dataclass(frozen=True)
class Line:
    """What a child printed."""

    slot: Slot
    text: str


def share_out(devices: int | None, per_run: int) -> list[Slot]:
    """Slots of `per_run` GPUs each, or of as many CPU processes where there is no GPU.

    $CUDA_VISIBLE_DEVICES and a smaller $OMP_NUM_THREADS of the user's are respected.
    Errors: UserError where there are fewer GPUs.
    """
    gpus = chosen_gpus(devices, per_run)
    devices = devices or per_run
    threads = max(1, (os.cpu_count() or 1) // devices)
    slots = []
    for number in range(1, devices // per_run + 1):
        environment = share_of_cores(threads, per_run)
        if gpus:
            mine = gpus[(number - 1) * per_run : number * per_run]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        slots.append(Slot(number, environment))
    return slots


def spread(
    jobs: Sequence[Job], video_set: VideoSet, machine: Machine, slots: Sequence[Slot]
) -> list[Failed]:
    """Make every run, as many at a time as there are slots; returns those that failed.

    `machine.devices` is how many a single run takes. A run whose process was killed is started
    again as long as it gets on, and fails where it does not.

    Errors: KeyboardInterrupt on Ctrl-C and SIGTERM, once all children have saved what they were at
    and ended; UserError where nothing can be written.
    """
    with tempfile.TemporaryDirectory(prefix="repflow-") as orders:
        return _Spread(jobs, video_set, machine, slots, Path(orders)).run()


class _Spread:
    """The runs that are left, being made and failed."""

    def __init__(
        self,
        jobs: Sequence[Job],
        video_set: VideoSet,
        machine: Machine,
        slots: Sequence[Slot],
        orders: Path,
    ) -> None:
        self.jobs = jobs
        self.video_set = video_set
        self.machine = machine
        self.orders = orders
        self.left = list(jobs)
        self.free = list(slots)
        self.running: list[Child] = []
        self.failures: list[Failed] = []
        self.lines: queue.SimpleQueue[Line] = queue.SimpleQueue()

    def run(self) -> list[Failed]:
        with Overview(self.machine.console, len(self.jobs)) as overview, self._no_child_stays():
            looked, waiting = 0.0, False
            while self.left or self.running:
                if self.free and self.left and time.monotonic() - looked > WAIT:
                    self._start_what_can_be()
                    looked = time.monotonic()
                    if not self.running and not waiting:
                        self.machine.console.print(WAITING)
                        waiting = True
                with suppress(queue.Empty):
                    line = self.lines.get(timeout=0.2)
                    overview.tell(line.slot.number, line.text)
                for child in [c for c in self.running if c.process.poll() is not None]:
                    self._end(child, overview)
                    looked = 0.0
        return self.failures

    def _start_what_can_be(self) -> None:
        while self.free:
            job = next_job(self.left, [child.job for child in self.running], self.machine.out)
            if job is None:
                return
            self.left.remove(job)
            self.running.append(self._start(job, self.free.pop(0)))

    def _start(self, job: Job, slot: Slot) -> Child:
        label = label_of(job, self.jobs.index(job) + 1, self.jobs)
        runs_after = len(self.left) // (len(self.free) + len(self.running) + 1)
        order = order_of(job, self.video_set, self.machine, label, runs_after)
        path = self.orders / f"slot{slot.number}.json"
        write_order(path, order)
        checkpoint = checkpoint_time(self.machine.out, job)  # before there can be another one
        errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        process = subprocess.Popen(
            [sys.executable, "-m", "repflow_pl.launching.worker", str(path)],
            env={**os.environ, **slot.environment},
            stdin=subprocess.PIPE,  # ends when this process does, however that ends
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # a terminal's Ctrl-C goes to this process alone
        )
        reader = threading.Thread(target=self._read, args=(slot, process), daemon=True)
        reader.start()
        return Child(job, label, slot, process, reader, errors, checkpoint)

    def _read(self, slot: Slot, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            self.lines.put(Line(slot, text.rstrip("\n")))

    def _end(self, child: Child, overview: Overview) -> None:
        """Take leave of a child that has ended."""
        self.running.remove(child)
        self.free.append(child.slot)
        self.free.sort(key=lambda slot: slot.number)
        _kill(child)  # what it may have started and left behind
        child.reader.join(timeout=SAVING)
        while not self.lines.empty():
            line = self.lines.get()
            overview.tell(line.slot.number, line.text)
        child.errors.seek(0)
        said = child.errors.read().decode(errors="replace").strip()
        child.errors.close()
        status = child.process.returncode
        if status == MISTAKE:
            raise UserError(said.splitlines()[-1] if said else f"{child.label} could not be made.")
        if status == BUSY:
            self.left.append(child.job)
        elif status == FAILED and (failed := read_failure(self.machine.out, child.job)):
            self.failures.append(failed)
        elif status != DONE:
            self._after_a_crash(child, said)
        ended = len(self.jobs) - len(self.left) - len(self.running)
        overview.free(child.slot.number, ended, len(self.failures))

    def _after_a_crash(self, child: Child, said: str) -> None:
        how = how_it_ended(child.process.returncode)
        if checkpoint_time(self.machine.out, child.job) != child.checkpoint:
            self.machine.console.print(
                f"{child.label} · its process {how}: it goes on from its checkpoint", markup=False
            )
            self.left.insert(0, child.job)
            return
        reason = f"the process {how} before it got any further; the next sweep goes on with it"
        self.failures.append(record(child.job, reason, said, self.machine, child.label))

    @contextmanager
    def _no_child_stays(self) -> Iterator[None]:
        """Whatever ends the sweep ends its children, which have a while to do so."""
        try:
            yield
        finally:
            try:
                deadline = time.monotonic() + SAVING
                while time.monotonic() < deadline and self._ask_to_end():
                    pass
            finally:
                for child in self.running:
                    _kill(child)

    def _ask_to_end(self) -> bool:
        """Whether some are still there, a while after a SIGTERM, at which a training is saved.

        It is sent again and again: Python drops one now and then that meets a finaliser.
        """
        here = [child for child in self.running if child.process.poll() is None]
        for child in here:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + SAVING / 4
        while time.monotonic() < deadline and any(c.process.poll() is None for c in here):
            time.sleep(0.05)
        return bool(here)


def _kill(child: Child) -> None:
    """End a child and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()
