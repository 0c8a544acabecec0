"""What is measured: sizes, counts of iterations, backends, and a call of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.baseline import baseline_flow
from repflow_pl.ops import (
    FlowKernels,
    central_kernels,
    chosen_backend,
    representation_flow,
)

Pass = Literal["forward", "forward + backward"]
PASSES: tuple[Pass, ...] = ("forward", "forward + backward")
BACKENDS = ("baseline", "eager", "compile", "fused")

#: Channels of the flow layer's bottleneck, which the flow of every block but the input is taken on.
BOTTLENECK = 32

#: Side of the input over that of a feature map, after block 0 (the RGB input) to 5, in
#: torchvision's ResNets: a stem of two strides, layer1 without any, layer2 to layer4.
STRIDES = (1, 4, 4, 8, 16, 32)


@dataclass(frozen=True)
class Cell:
    """One shape [pairs, channels, side, side] and one count of iterations."""

    pairs: int
    channels: int
    side: int
    n_iter: int

    @property
    def elements(self) -> int:
        return self.pairs * self.channels * self.side**2

    @property
    def columns(self) -> dict[str, int]:
        """Of a record."""
        sides = {"height": self.side, "width": self.side}
        return {"pairs": self.pairs, "channels": self.channels, **sides, "n_iter": self.n_iter}

    def __str__(self) -> str:
        return f"[{self.pairs}, {self.channels}, {self.side}, {self.side}]"


Flow = Callable[..., tuple[Tensor, Tensor]]
"""Of two frames, the kernels, theta, lambda, tau and the number of iterations."""


def side_after(block: int, size: int) -> int:
    """Side of the feature maps after a block for an input of this size; odd sides round up."""
    return math.ceil(size / STRIDES[block])


def where(cell: Cell, sizes: tuple[int, ...] = (112, 224)) -> str:
    """Which features have a cell's size: 'block 3 at 224; blocks 1, 2 at 112'."""
    parts = []
    for size in sizes:
        blocks = [str(b) for b in range(1, len(STRIDES)) if side_after(b, size) == cell.side]
        if cell.channels == 3 and cell.side == size:
            parts.append(f"RGB at {size}")
        elif cell.channels != 3 and blocks:
            parts.append(f"block{'s' * (len(blocks) > 1)} {', '.join(blocks)} at {size}")
    return "; ".join(parts)


def flow_of(backend: str, device: torch.device) -> Flow:
    """A backend as a function of two frames. Errors: ValueError where it cannot run here."""
    if backend == "baseline":
        return baseline_flow
    if backend == "compile":
        return torch.compile(_by("eager"), dynamic=False)
    if backend == "fused":
        backend = chosen_backend(torch.empty(1, 1, 2, 2, device=device))
        if backend == "eager":
            raise ValueError(f"there is no fused backend for {device.type} here")
    return _by(backend)


def _by(backend: str) -> Flow:
    compute: Flow = representation_flow
    return lambda *given: compute(*given, backend)


def frames_of(cell: Cell, device: torch.device) -> tuple[Tensor, Tensor]:
    """A smooth texture over 0..255, and the same moved by a pixel.

    What OpenCV's time depends on, for it may stop early.
    """
    make = torch.Generator().manual_seed(0)
    coarse = torch.rand(cell.pairs, cell.channels, *[cell.side // 4 + 2] * 2, generator=make)
    first = 255 * F.interpolate(coarse, [cell.side] * 2, mode="bilinear", align_corners=True)
    return first.to(device), first.roll((1, 1), (2, 3)).to(device)


def call_of(flow: Flow, cell: Cell, which: Pass, device: torch.device) -> Callable[[], None]:
    """A call of one pass; it keeps nothing.

    Forward is without a graph; forward + backward takes the gradients of both frames, the six
    kernels and the three scalars, which is what the released layer learns.
    """
    leaves = [*frames_of(cell, device), *central_kernels(cell.channels, device=device)]
    leaves += [torch.tensor([value], device=device) for value in (0.3, 0.15, 0.25)]
    cotangents = [torch.ones_like(leaves[0]) for _ in range(2)]

    def run() -> tuple[Tensor, Tensor]:
        frame1, frame2, *kernels, theta, lam, tau = leaves
        return flow(frame1, frame2, FlowKernels(*kernels), theta, lam, tau, cell.n_iter)

    def forward() -> None:
        with torch.no_grad():
            run()

    def both() -> None:
        torch.autograd.grad(run(), leaves, cotangents, allow_unused=True)

    if which == "forward":
        return forward
    for leaf in leaves:
        leaf.requires_grad_()
    return both


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
