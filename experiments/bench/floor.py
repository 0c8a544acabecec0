"""What no implementation can beat on this machine: bytes over bandwidth, operations over peak."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from bench.cells import Cell, Pass, synchronise
from bench.timing import seconds_of
from repflow_pl.ops import flow_flops

BYTES = 4  # of a float32


@dataclass(frozen=True)
class Peaks:
    """Measured with the threads of the benchmark."""

    bytes_per_second: float
    """Of a copy between two large tensors, read and written bytes added."""
    flops_per_second: float
    """Of a large float32 matrix product; a multiply-add counts as two."""


@dataclass(frozen=True)
class Floor:
    """Seconds; the call takes at least the longer of the two."""

    bytes: float
    operations: float

    @property
    def seconds(self) -> float:
        return max(self.bytes, self.operations)


def measure_peaks(device: torch.device, quick: bool = False) -> Peaks:
    """The best of a few: noise only ever slows them down."""
    size = 2**20 if quick else 2**26 if device.type == "cpu" else 2**28
    side = 256 if quick else 2048 if device.type == "cpu" else 8192
    source, target = torch.ones(size, device=device), torch.empty(size, device=device)
    matrix = torch.ones(side, side, device=device)
    result = torch.empty_like(matrix)
    wait, tries = partial(synchronise, device), range(3 if quick else 6)
    copying = min(seconds_of(lambda: target.copy_(source), wait) for _ in tries)
    product = min(seconds_of(lambda: torch.mm(matrix, matrix, out=result), wait) for _ in tries)
    return Peaks(2 * BYTES * size / copying, 2 * side**3 / product)


def floor_of(cell: Cell, which: Pass, peaks: Peaks) -> Floor:
    """Forward: two frames are read and two flows written, once, and Alg. 1's operations done.

    Forward + backward also reads the frames again and the cotangents, and writes the frames'
    gradients; its operations count as three times the forward's, as is usual for reverse mode.
    """
    tensors, factor = (4, 1) if which == "forward" else (10, 3)
    planes = cell.pairs * cell.channels
    flops = factor * flow_flops(planes, cell.side, cell.side, cell.n_iter)
    return Floor(
        tensors * BYTES * cell.elements / peaks.bytes_per_second, flops / peaks.flops_per_second
    )
