"""Which cells a run measures, in which order, and within which time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from bench.cells import BOTTLENECK, Cell, side_after

#: Both ends and the middle first: what a slow machine has no time for is then between them.
ITERATIONS = (1, 100, 20, 5, 10, 2, 50)
N_ITER = 20


@dataclass(frozen=True)
class Plan:
    """What a run measures; cells come in the order in which they matter."""

    headline: Cell
    sizes: tuple[Cell, ...]
    iterations: tuple[Cell, ...]
    compiled: tuple[Cell, ...]
    """Cells for which torch.compile is tried, from few iterations to many."""
    quick: bool

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(dict.fromkeys((self.headline, *self.sizes, *self.iterations)))

    @property
    def iterations_in_order(self) -> tuple[Cell, ...]:
        return tuple(sorted(self.iterations, key=lambda cell: cell.n_iter))

    @property
    def for_memory(self) -> tuple[Cell, ...]:
        """All sizes; in the iterations, the memory of a graph is linear."""
        return tuple(dict.fromkeys((self.headline, *self.sizes)))


def build_plan(device: torch.device, quick: bool) -> Plan:
    """The full run, or a tiny one that only shows that everything works.

    28 x 28 is block 3 at 224 and blocks 1 and 2 at 112. On a CPU its 14 pairs are a clip of 15
    frames, on a GPU its 120 a batch of 8 clips of 16. Larger maps and the line of iterations get
    fewer pairs, so that the baseline, of seconds a call on a CPU, can be timed more than once.
    """
    if quick:
        headline = Cell(2, 4, 7, 3)
        frames = Cell(1, 3, 16, 3)
        few = Cell(2, 4, 7, 1)
        return Plan(headline, (frames, headline), (few, headline), (few,), quick)
    pairs = 14 if device.type == "cpu" else 120
    headline = Cell(pairs, BOTTLENECK, 28, N_ITER)
    sides = {side_after(block, size) for block in range(1, 6) for size in (112, 224)}
    features = [
        Cell(max(1, pairs // 14) if side > 28 else pairs, BOTTLENECK, side, N_ITER)
        for side in sorted(sides)
    ]
    rgb = [Cell(max(1, pairs // (7 * k * k)), 3, 112 * k, N_ITER) for k in (1, 2)]
    iterations = [Cell(max(1, pairs // 14), BOTTLENECK, 28, n) for n in ITERATIONS]
    return Plan(
        headline,
        tuple(sorted([*features, *rgb], key=lambda cell: (cell.channels != 3, -cell.side))),
        tuple(iterations),
        tuple(dataclasses.replace(iterations[0], n_iter=n) for n in (1, 5, N_ITER)),
        quick,
    )
