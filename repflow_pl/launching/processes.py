"""Many runs side by side on one machine, each in a process of its own."""

from __future__ import annotations

import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import joblib

from repflow_pl.ending import SAVING
from repflow_pl.launching.order import Order
from repflow_pl.launching.outcome import Ended, how_it_ended
from repflow_pl.launching.worker import kill, share_of_cores, start
from repflow_pl.training.planning.ranks import chosen_gpus

Slot = dict[str, str]
"""A share of the machine, on which one run is made at a time, as an environment."""


def share_out(devices: int | None, per_run: int, runs: int) -> list[Slot]:
    """Slots of `per_run` GPUs each, or of as many CPU processes where there is no GPU; no more than
    there are runs.

    $CUDA_VISIBLE_DEVICES and a smaller $OMP_NUM_THREADS of the user's are respected.
    Errors: UserError where there are fewer GPUs.
    """
    gpus = chosen_gpus(devices, per_run)
    devices = min(devices or per_run, per_run * runs)
    slots = []
    for first in range(0, devices, per_run):
        slot = share_of_cores(max(1, joblib.cpu_count() // devices), per_run)
        if gpus:
            slot["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[first : first + per_run])
        slots.append(slot)
    return slots


@dataclass(frozen=True)
class Child:
    """A run that is being made."""

    order: Order
    process: subprocess.Popen[str]
    reader: threading.Thread
    errors: IO[bytes]


class Processes:
    """As many runs at a time as there are slots: a `pool.Place`."""

    look = 1.0

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots
        self.children: dict[int, Child] = {}
        """By the index of their slot."""
        self.lines: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def room(self) -> int:
        return len(self.slots) - len(self.children)

    def start(self, orders: Sequence[Order]) -> None:
        free = [k for k in range(len(self.slots)) if k not in self.children]
        for k, order in zip(free, orders, strict=False):
            errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _leave)
            process = start(order, self.slots[k], subprocess.PIPE, errors)
            reader = threading.Thread(target=self._read, args=(order, process), daemon=True)
            reader.start()
            self.children[k] = Child(order, process, reader, errors)

    def _read(self, order: Order, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            self.lines.put((order.number, text.rstrip("\n")))

    def watch(self, tell: Callable[[int, str], None]) -> list[Ended]:
        with suppress(queue.Empty):
            tell(*self.lines.get(timeout=0.2))
        ended = [k for k, child in self.children.items() if child.process.poll() is not None]
        return [self._leave(self.children.pop(k), tell) for k in ended]

    def _leave(self, child: Child, tell: Callable[[int, str], None]) -> Ended:
        kill(child.process)
        child.reader.join(timeout=SAVING)
        while not self.lines.empty():
            tell(*self.lines.get())
        child.errors.seek(0)
        said = child.errors.read().decode(errors="replace").strip()
        child.errors.close()
        status = child.process.returncode
        return Ended(child.order, status, said, f"the process {how_it_ended(status)}")

    def stop(self) -> None:
        """At a SIGTERM a training is saved. It is sent again and again: Python drops one now and
        then that meets a finaliser."""
        processes = [child.process for child in self.children.values()]
        try:
            again = time.monotonic()
            deadline = again + SAVING
            while (now := time.monotonic()) < deadline:
                here = [process for process in processes if process.poll() is None]
                if not here:
                    break
                if now >= again:
                    for process in here:
                        process.send_signal(signal.SIGTERM)
                    again += SAVING / 4
                time.sleep(0.05)
        finally:
            for process in processes:
                kill(process)
