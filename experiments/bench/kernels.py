"""Times of the CUDA backend's two sets of kernels at the sizes that its design is judged by."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Iterator
from unittest import mock

import torch

from bench.cells import PASSES, Cell, Pass, call_of, flow_of, synchronise
from bench.timing import in_turns, quartiles
from repflow_pl.ops import flow_cuda

#: At the paper's bottleneck and on RGB frames; the last is one pair, as in live video.
CELLS = (
    Cell(360, 32, 28, 20),
    Cell(360, 32, 14, 20),
    Cell(360, 32, 7, 20),
    Cell(360, 32, 56, 20),
    Cell(360, 3, 112, 20),
    Cell(120, 32, 28, 20),
    Cell(1, 32, 28, 20),
)

#: Seconds for a pass of a cell.
BUDGET = 0.8

COLUMNS = (
    "pairs", "channels", "height", "width", "n_iter", "pass", "kernels",
    "ms_median", "ms_q25", "ms_q75", "n", "times_as_fast_as_triton",
)  # fmt: skip


def measured_kernels(
    say: Callable[[str], None], cells: tuple[Cell, ...] = CELLS, device: str = "cuda"
) -> str:
    """A csv of COLUMNS; every row is also said as soon as it is known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    say(",".join(COLUMNS))
    switch = _Switch(flow_cuda._machine)
    with mock.patch.object(flow_cuda, "_machine", switch.machine):
        for cell in cells:
            for which in PASSES:
                for row in _rows(cell, which, switch, device):
                    writer.writerow(row)
                    say(",".join(map(str, row)))
    return text.getvalue()


class _Switch:
    """Says for each call which kernels are to do it, at next to no cost."""

    def __init__(self, machine: Callable[[torch.device], flow_cuda.Machine]) -> None:
        self._machine, self._kernels = machine, ""

    def by(self, kernels: str, call: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            self._kernels = kernels
            call()

        return run

    def machine(self, device: torch.device) -> flow_cuda.Machine:
        found = self._machine(device)
        return found if self._kernels == "flow.cu" else dataclasses.replace(found, launch=None)


def _rows(cell: Cell, which: Pass, switch: _Switch, device: str) -> Iterator[tuple[object, ...]]:
    where = torch.device(device)
    call = call_of(flow_of("fused", where), cell, which, where)
    calls = {kernels: switch.by(kernels, call) for kernels in ("flow.cu", "triton")}
    seconds = in_turns(calls, BUDGET, lambda: synchronise(where))
    for kernels, turns in seconds.items():
        found = quartiles([1000 * turn for turn in turns])
        ratios = [slow / fast for slow, fast in zip(seconds["triton"], turns, strict=True)]
        times = (found.median, found.low, found.high, found.n, quartiles(ratios).median)
        shape = (cell.pairs, cell.channels, cell.side, cell.side, cell.n_iter)
        yield (*shape, which, kernels, *(f"{time:.4g}" for time in times))
