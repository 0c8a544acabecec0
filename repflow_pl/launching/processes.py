"""Many runs side by side on one machine, in a process for each share of it."""

from __future__ import annotations

import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import joblib

from repflow_pl.ending import SAVING
from repflow_pl.launching.order import Order, to_json
from repflow_pl.launching.outcome import Ended, how_it_ended
from repflow_pl.launching.worker import ENDED, end, kill, share_of_cores, start
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


@dataclass
class Child:
    """A process that makes a run, or waits for another one."""

    order: Order | None
    process: subprocess.Popen[str]
    reader: threading.Thread
    errors: IO[bytes]
    heard: int = 0
    """Bytes of its errors that belong to earlier runs."""

    def take(self, order: Order) -> None:
        """Have it make another run."""
        assert self.process.stdin is not None
        self.order = order
        with suppress(BrokenPipeError):  # something has just ended it, which `watch` will see
            self.process.stdin.write(f"{to_json(order)}\n")
            self.process.stdin.flush()

    def said(self) -> str:
        """Its errors since the last time. The place in the file is the process's own to move."""
        errors = self.errors.fileno()
        new = os.pread(errors, os.fstat(errors).st_size - self.heard, self.heard)
        self.heard += len(new)
        return new.decode(errors="replace").strip()


class Processes:
    """As many runs at a time as there are slots: a `pool.Place`.

    A process makes one run after the other, unless a run has several processes or fails.
    """

    look = 1.0

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots
        self.children: dict[int, Child] = {}
        """By the index of their slot."""
        self.lines: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self.ended: list[Ended] = []

    def room(self) -> int:
        return len(self._free())

    def _free(self) -> list[int]:
        busy = {k for k, child in self.children.items() if child.order is not None}
        return [k for k in range(len(self.slots)) if k not in busy]

    def start(self, orders: Sequence[Order]) -> None:
        for k, order in zip(self._free(), orders, strict=False):
            if k in self.children:
                self.children[k].take(order)
                continue
            errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _leave)
            more = order.devices == 1
            process = start(order, self.slots[k], subprocess.PIPE, errors, more)
            reader = threading.Thread(target=self._read, args=(k, process), daemon=True)
            reader.start()
            self.children[k] = Child(order, process, reader, errors)

    def _read(self, slot: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            self.lines.put((slot, text.rstrip("\n")))

    def watch(self, tell: Callable[[int, str], None]) -> list[Ended]:
        with suppress(queue.Empty):
            self._hear(*self.lines.get(timeout=0.2), tell)
        for k in [k for k, child in self.children.items() if child.process.poll() is not None]:
            self._leave(k, tell)
        ended, self.ended = self.ended, []
        return ended

    def _hear(self, slot: int, line: str, tell: Callable[[int, str], None]) -> None:
        child = self.children[slot]
        if child.order is None:
            return
        if line.startswith(ENDED):
            status = int(line.removeprefix(ENDED))
            self.ended.append(Ended(child.order, status, child.said()))
            child.order = None
        else:
            tell(child.order.number, line)

    def _leave(self, slot: int, tell: Callable[[int, str], None]) -> None:
        child = self.children[slot]
        kill(child.process)
        child.reader.join(timeout=SAVING)
        while not self.lines.empty():
            self._hear(*self.lines.get(), tell)
        status, said = child.process.returncode, child.said()
        child.errors.close()
        if child.order is not None:
            self.ended.append(Ended(child.order, status, said, how_it_ended(status)))
        del self.children[slot]

    def stop(self) -> None:
        end([child.process for child in self.children.values()], SAVING)
