"""Run a plan: what compilers take and memory, in fresh processes; then time, cell by cell."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

from bench.cells import BACKENDS, PASSES, Cell, Flow, Pass, call_of, flow_of, synchronise
from bench.floor import Floor, Peaks, floor_of, measure_peaks
from bench.memory import Job, Measured, Outcome, measure
from bench.opencv import SETTINGS, opencv_calls
from bench.plan import Plan
from bench.timing import FEWEST_TURNS, in_turns
from repflow_pl.quartiles import Quartiles, quartiles, quartiles_over

Say = Callable[[str], None]

NOT_TRIED = "not tried at every size and count, for each of which it compiles anew"

#: Shares of a run's time: the most that a process for memory takes, of which two run at a time, and
#: what is meant for a pass of a cell. The headline gets six times as much as other cells.
MEMORY_SHARE, PASS_SHARE, HEADLINE = 0.33, 0.006, 6


@dataclass(frozen=True)
class Timed:
    """Seconds of one call in each turn, by backend; `why` for the backends without."""

    cell: Cell
    which: Pass
    seconds: Mapping[str, list[float]]
    why: Mapping[str, str]

    def ratio(self, backend: str) -> Quartiles | None:
        """How many times as fast as the baseline, turn by turn; OpenCV's for a pair of frames."""
        if backend not in self.seconds:
            return None
        calls = self.cell.pairs if backend in SETTINGS else 1
        theirs = [calls * seconds for seconds in self.seconds[backend]]
        return quartiles_over(self.seconds["baseline"], theirs)


@dataclass(frozen=True)
class Results:
    """All that a run measured."""

    plan: Plan
    peaks: Peaks
    timed: tuple[Timed, ...]
    memory: Mapping[str, Outcome]
    """By backend; for "compile" the first calls are whole compilations."""
    seconds: float
    """What the run took."""

    def of(self, cell: Cell) -> tuple[Timed, ...]:
        """A cell's passes."""
        return tuple(timed for timed in self.timed if timed.cell == cell)

    def measured(self, backend: str, cell: Cell, which: Pass) -> Measured | None:
        """What a backend's own process measured."""
        found = self.memory[backend].measured if backend in self.memory else ()
        return next((m for m in found if (m.cell, m.which) == (cell, which)), None)

    def share(self, cell: Cell, which: Pass) -> float | None:
        """The fused backend's memory over the baseline's."""
        fused, baseline = (self.measured(backend, cell, which) for backend in ("fused", "baseline"))
        if not fused or not baseline or not fused.extra_bytes or not baseline.extra_bytes:
            return None
        return fused.extra_bytes / baseline.extra_bytes

    def floor(self, timed: Timed) -> Floor:
        """What no implementation of a pass can beat."""
        return floor_of(timed.cell, timed.which, self.peaks)

    def floor_ratio(self, timed: Timed) -> float | None:
        """The fused backend's median time over the floor."""
        if "fused" not in timed.seconds:
            return None
        return quartiles(timed.seconds["fused"]).median / self.floor(timed).seconds


def run(
    plan: Plan, device: torch.device, threads: int, minutes: float, patience: float, say: Say
) -> Results:
    """Measure the plan in about so many minutes; what does not fit is left out and says so.

    `patience`: seconds that torch.compile may take in all.
    """
    begin = time.perf_counter()
    total = 60 * minutes
    torch.set_num_threads(threads)
    with _empty_caches(keep_numbas=plan.quick):
        say("compilers and memory")
        # torch.compile first, which takes the longest: the others follow one another beside it
        jobs = [Job("compile", plan.compiled, patience)]
        for backend in ("fused", "baseline", "eager"):
            jobs.append(Job(backend, plan.for_memory, MEMORY_SHARE * total))
        memory = measure(jobs, device, threads)
        memory["compile"] = _with_place(memory["compile"], plan.compiled)
        say("the machine's bandwidth and peak")
        peaks = measure_peaks(device, plan.quick)
        flows, missing = _flows(device)
        timed: list[Timed] = []
        for cell in plan.cells:
            left = total - (time.perf_counter() - begin)
            if timed and _least_seconds(cell, timed) > left:
                why = dict.fromkeys(BACKENDS, f"the run's {minutes:g} minutes were over")
                timed += [Timed(cell, which, {}, why) for which in PASSES]
                continue
            say(f"time: {cell}, {cell.n_iter} iterations")
            for which in PASSES:
                budget = PASS_SHARE * total * (HEADLINE if cell == plan.headline else 1)
                calls, why = _calls(plan, cell, which, device, threads, flows, memory["compile"])
                seconds = in_turns(calls, budget, partial(synchronise, device))
                timed.append(Timed(cell, which, seconds, {**missing, **why}))
                del calls
    return Results(plan, peaks, tuple(timed), memory, time.perf_counter() - begin)


def _with_place(compiled: Outcome, cells: tuple[Cell, ...]) -> Outcome:
    """What kept torch.compile from going on, with where that was."""
    if not compiled.why:
        return compiled
    done = [measured.cell for measured in compiled.measured]
    stopped = next((cell for cell in cells if done.count(cell) < len(PASSES)), cells[-1])
    why = f"compiling n_iter {stopped.n_iter}: {compiled.why}"
    return Outcome(compiled.measured, why)


def _flows(device: torch.device) -> tuple[dict[str, Flow], dict[str, str]]:
    """The backends that there are, and why others are not."""
    flows, missing = {}, {}
    for backend in BACKENDS:
        try:
            flows[backend] = flow_of(backend, device)
        except ValueError as error:
            missing[backend] = str(error)
    return flows, missing


def _calls(
    plan: Plan,
    cell: Cell,
    which: Pass,
    device: torch.device,
    threads: int,
    flows: Mapping[str, Flow],
    compiled: Outcome,
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """The calls that can be made for a pass of a cell, and why others cannot."""
    calls, why = {}, {}
    done = [(measured.cell, measured.which) for measured in compiled.measured]
    for backend, flow in flows.items():
        if backend == "compile" and (cell, which) not in done:
            why[backend] = (compiled.why if cell in plan.compiled else "") or NOT_TRIED
        else:
            calls[backend] = call_of(flow, cell, which, device)
    if cell.channels == 3 and which == "forward":
        try:
            calls.update(opencv_calls(cell, threads))
        except ValueError as error:
            why.update(dict.fromkeys(SETTINGS, str(error)))
    return calls, why


def _least_seconds(cell: Cell, timed: list[Timed]) -> float:
    """The least time that a cell takes, guessed from the first one's by elements and iterations."""
    both = [t for t in timed if t.cell == timed[0].cell]
    turn = sum(min(seconds) for t in both for seconds in t.seconds.values())
    work = cell.elements * cell.n_iter
    return turn * (FEWEST_TURNS + 1) * work / (timed[0].cell.elements * timed[0].cell.n_iter)


@contextmanager
def _empty_caches(keep_numbas: bool) -> Iterator[None]:
    """Folders for what compilers keep, of this process and of those that it starts."""
    names = ["TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"]
    names += [] if keep_numbas else ["NUMBA_CACHE_DIR"]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        patch.dict(os.environ, {name: str(Path(folder) / name.lower()) for name in names}),
    ):
        yield
