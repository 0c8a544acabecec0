"""Times of the CUDA backend's two sets of kernels at the sizes that its design is judged by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import torch

from bench.cells import PASSES, Cell, Pass, call_of, flow_of, synchronise
from bench.timing import columns, csv_of, in_turns
from repflow_pl.ops import flow_cuda
from repflow_pl.quartiles import quartiles, quartiles_over

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


def measured_kernels(
    say: Callable[[str], None], cells: tuple[Cell, ...] = CELLS, device: str = "cuda"
) -> str:
    """A csv; every row is also said as soon as it is known."""
    rows: list[dict[str, object]] = []
    switch = _Switch(flow_cuda._machine)
    with mock.patch.object(flow_cuda, "_machine", switch.machine):
        for cell in cells:
            for which in PASSES:
                for row in _rows(cell, which, switch, device):
                    if not rows:
                        say(",".join(row))
                    rows.append(row)
                    say(",".join(map(str, row.values())))
    return csv_of(rows)


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


def _rows(cell: Cell, which: Pass, switch: _Switch, device: str) -> Iterator[dict[str, object]]:
    where = torch.device(device)
    call = call_of(flow_of("fused", where), cell, which, where)
    calls = {kernels: switch.by(kernels, call) for kernels in ("flow.cu", "triton")}
    seconds = in_turns(calls, BUDGET, partial(synchronise, where))
    for kernels, turns in seconds.items():
        found = quartiles([1000 * turn for turn in turns])
        yield {
            **cell.columns,
            "pass": which,
            "kernels": kernels,
            **columns("ms_", found, digits=4),
            "n": found.n,
            "times_as_fast_as_triton": f"{quartiles_over(seconds['triton'], turns).median:.4g}",
        }
