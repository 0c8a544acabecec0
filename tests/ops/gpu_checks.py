"""What a GPU has to show of the flow op, as functions that need torch and numpy alone.

test_flow_cuda.py makes tests of them, experiments/gpu_check.py runs them where no pytest is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from unittest import mock

import torch
from torch import Tensor

from repflow_pl.ops import flow_cuda

from .flow_cases import RESULTS, relative
from .flow_reference import (
    fused,
    half_precision_iterates_in_float32,
    reference,
    results_of,
    spatial_case,
    spatial_golden_case,
)

Shape = tuple[int, int, int, int]

#: In float32, of the flow and of the gradients.
LIMITS = [1e-5] * 2 + [5e-3] * 11

SHAPES: tuple[Shape, ...] = (
    (1, 1, 2, 2),
    (2, 3, 7, 7),
    (3, 5, 14, 14),
    (4, 8, 28, 28),
    (1, 2, 45, 67),
    (2, 3, 56, 56),
    (2, 2, 112, 112),
    (1, 1, 2, 1024),
)


KERNELS = ("flow.cu", "triton")


def checks(kernels: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Of one of KERNELS, each with its name.

    AssertionError where a GPU's results are not what they have to be.
    """
    every: dict[str, Callable[[], None]] = {
        **{f"golden {n}": functools.partial(golden, n) for n in range(10)},
        **{f"{list(s)} x {n}": functools.partial(agrees, s, n) for s in SHAPES for n in (1, 2, 20)},
        "more planes than run at once": functools.partial(every_plane_agrees, (90, 32, 28, 28)),
        "the same bits again": same_bits,
        "a NaN stays in its plane": nan_stays,
        "float16": functools.partial(half, torch.float16),
        "bfloat16": functools.partial(half, torch.bfloat16),
        "memory": memory,
        "a captured graph": captured,
        "torch.compile": compiles,
    }
    if kernels == "triton":
        every["float64"] = double
    for name, check in every.items():
        yield f"{kernels}: {name}", functools.partial(_with_only, kernels, check)


def _with_only(kernels: str, check: Callable[[], None]) -> None:
    with only(kernels):
        check()


@contextlib.contextmanager
def only(kernels: str) -> Iterator[None]:
    """One set of kernels does all, and it is a failure where the other one is needed."""
    machine = flow_cuda._machine

    def without_launch(device: torch.device) -> flow_cuda.Machine:
        return dataclasses.replace(machine(device), launch=None)

    def missing() -> None:
        raise AssertionError("the kernels of flow.cu did not run")

    with contextlib.ExitStack() as patches:
        if kernels == "triton":
            patches.enter_context(mock.patch.object(flow_cuda, "_machine", without_launch))
        else:
            patches.enter_context(mock.patch.object(flow_cuda, "_kernels", missing))
        yield


def golden(number: int, device: str = "cuda") -> None:
    """The released layer's results, in float32."""
    case, expected = spatial_golden_case(number)
    found = results_of(fused, case.to(torch.float32), device)
    found[4], found[5] = found[4][:, 1, :], found[5][:, :, 1]
    _compare(found, expected, LIMITS)


def agrees(shape: Shape, n_iter: int, device: str = "cuda") -> None:
    """With the reference in float64, kernels of nine weights included."""
    case = spatial_case(shape, n_iter)
    wanted = results_of(reference, case, device)
    _compare(results_of(fused, case.to(torch.float32), device), wanted, LIMITS)


def every_plane_agrees(shape: Shape, n_iter: int = 20, device: str = "cuda") -> None:
    """Flow and gradients of each plane by itself: no error hides among many."""
    case = spatial_case(shape, n_iter)
    wanted = results_of(reference, case, device)
    found = results_of(fused, case.to(torch.float32), device)
    for k, name in enumerate(RESULTS[:4]):
        error = (found[k].double() - wanted[k]).norm(dim=(2, 3)) / wanted[k].norm(dim=(2, 3))
        assert float(error.max()) < 10 * LIMITS[k], f"{name}: {float(error.max()):.1e}"


def same_bits(device: str = "cuda") -> None:
    case = spatial_case((40, 32, 28, 28), 20).to(torch.float32)
    found = results_of(fused, case, device)
    for _ in range(5):
        assert all(map(torch.equal, found, results_of(fused, case, device)))


def nan_stays(device: str = "cuda") -> None:
    case = spatial_case((2, 3, 28, 28), 20).to(torch.float32)
    clean = results_of(fused, case, device)
    case.tensors[0][1, 2, 3, 10] = torch.nan
    dirty = results_of(fused, case, device)
    assert dirty[0][1, 2].isnan().any()
    others = torch.ones(2, 3, dtype=torch.bool)
    others[1, 2] = False
    for k in range(4):
        assert torch.equal(dirty[k][others.to(device)], clean[k][others.to(device)])


def half(dtype: torch.dtype, device: str = "cuda") -> None:
    half_precision_iterates_in_float32(dtype, (2, 3, 14, 14), 4, device=device)


def memory() -> None:
    """Results included, 1/20 of what autograd takes or less."""

    def peak(run: Callable[[list[Tensor], int], tuple[Tensor, Tensor]], pairs: int) -> int:
        case = spatial_case((pairs, 32, 28, 28), 20).to(torch.float32)
        leaves = [t.cuda().requires_grad_() for t in case.tensors]
        cotangents = [c.cuda() for c in case.cotangents]
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        torch.autograd.grad(run(leaves, 20), leaves, cotangents)
        return torch.cuda.max_memory_allocated() - before

    share = peak(fused, 120) / (12 * peak(reference, 10))
    assert share < 1 / 20, f"1/{1 / share:.0f}"


def captured() -> None:
    """A CUDA graph takes in the layer and its gradients, and computes with new frames."""
    case = spatial_case((2, 4, 28, 28), 5).to(torch.float32)
    leaves = [t.cuda().requires_grad_() for t in case.tensors]
    cotangents = [c.cuda() for c in case.cotangents]

    def step() -> list[Tensor]:
        flow = fused(leaves, 5)
        return [*flow, *torch.autograd.grad(flow, leaves, cotangents)]

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # a first call compiles, which no graph takes in
        step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    with torch.no_grad():
        leaves[0].copy_(leaves[0].flip(2))
    graph.replay()
    assert all(map(torch.equal, found, step()))


def compiles() -> None:
    """In one graph, without a break."""
    case = spatial_case((2, 2, 9, 8), 3).to(torch.float32)
    compiled = torch.compile(lambda tensors: fused(tensors, 3), fullgraph=True, backend="aot_eager")
    wanted = results_of(fused, case, "cuda")
    found = results_of(lambda leaves, _: compiled(leaves), case, "cuda")
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def double(device: str = "cuda") -> None:
    for shape in SHAPES:
        case = spatial_case(shape, 20)
        wanted = results_of(reference, case, device)
        _compare(results_of(fused, case, device), wanted, [1e-9] * 13)


def _compare(found: list[Tensor], wanted: list[Tensor], limits: list[float]) -> None:
    for name, ours, theirs, limit in zip(RESULTS, found, wanted, limits, strict=True):
        error = relative(ours.cpu(), theirs.cpu())
        assert error < limit, f"{name}: {error:.1e}"
