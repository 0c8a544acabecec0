"""The fused CPU backend of the flow op: Numba kernels behind a torch custom operator.

The kernels are in :mod:`repflow_pl.ops.flow_cpu_kernels`. They release the GIL, and planes are
dealt to threads from Python instead of by one of Numba's threading layers: some of those must not
be entered by two threads at once, others not after a fork, and autograd and data loaders do both.

Every plane is computed on its own and gradients of shared parameters are summed over planes in a
fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from repflow_pl.extras import command
from repflow_pl.ops.cpu_threads import on_threads
from repflow_pl.ops.flow_op import Gradients, empty_flow, register, segment_length

#: Bytes of a thread's scratch up to which the backward keeps all states of a plane; above, it keeps
#: about 2 sqrt(n_iter) of them and pays one more forward. A thread's share of the last-level cache.
SCRATCH_BYTES = 8 * 2**20

#: Pixel-iterations below which waking other threads costs more than it saves.
SERIAL_WORK = 200_000

_NUMBA_FOUND = importlib.util.find_spec("numba") is not None


def refusal(frame: Tensor) -> str | None:
    """Why this backend cannot run on tensors like ``frame``; None where it can."""
    if frame.device.type != "cpu":
        return f"it needs tensors on the CPU, these are on {frame.device}"
    if torch.compiler.is_compiling():  # the tracer cannot follow an import
        return None if _NUMBA_FOUND else "numba is not installed"
    return _import_error()


@functools.cache
def _import_error() -> str | None:
    try:
        _kernels()
    except ImportError as error:
        return f"numba cannot be imported ({error})"
    return None


@functools.cache
def warn_if_missing() -> None:
    """Tell once in a process that without numba all is slow."""
    reason = _import_error()
    if reason is not None:
        warnings.warn(
            "The flow layer runs 9 to 15 times slower on the CPU than it could, because "
            f"{reason}; run: {command('cpu')}.",
            stacklevel=2,
        )


@functools.cache
def _kernels() -> ModuleType:
    return importlib.import_module("repflow_pl.ops.flow_cpu_kernels")


# --- the operator and its gradient ---------------------------------------------------------------


def _forward(frame1: Tensor, frame2: Tensor, taps: Tensor, scalars: Tensor, n_iter: int) -> Tensor:
    flow = empty_flow(frame1)
    inputs = (_planes(frame1), _planes(frame2), taps.numpy(), scalars.numpy(), n_iter)
    outputs = tuple(map(_planes, flow.chunk(2, dim=-3)))
    _over_planes(
        frame1, n_iter, lambda first, last: _kernels().forward(*inputs, first, last, *outputs)
    )
    return flow


def _backward(
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    cotangent: Tensor,
    with_frames: bool,
    with_sums: bool,  # they are formed in any case: next to nothing, in loops that run anyway
) -> Gradients:
    kernels = _kernels()
    grad1, grad2 = frame1.new_empty(frame1.shape), frame1.new_empty(frame1.shape)
    *batch, channels, height, width = frame1.shape
    shares = torch.zeros(math.prod(batch), channels, kernels.N_SUMS, dtype=torch.float64)
    state_bytes = 6 * height * width * frame1.element_size()
    inputs = (
        _planes(frame1),
        _planes(frame2),
        taps.numpy(),
        scalars.numpy(),
        n_iter,
        segment_length(n_iter, state_bytes, SCRATCH_BYTES),
        with_frames,
    )
    outputs = (
        *map(_planes, cotangent.chunk(2, dim=-3)),
        _planes(grad1),
        _planes(grad2),
        shares.flatten(0, 1).numpy(),
    )
    _over_planes(
        frame1, n_iter, lambda first, last: kernels.backward(*inputs, first, last, *outputs)
    )
    return grad1, grad2, shares.sum(0)


op = register("cpu", _forward, _backward)


# --- planes, segments, threads -------------------------------------------------------------------


def _planes(tensor: Tensor) -> Any:
    """[..., H, W] as the kernels' ``Planes``; copied only where a plane's pixels are scattered."""
    *batch, height, width = tensor.shape
    if tensor.stride()[-2:] != (width, 1):
        tensor = tensor.contiguous()
    starts, length = _layout(tuple(batch), tensor.stride(), height * width)
    pixels = tensor.as_strided((length,), (1,)).numpy()
    return _kernels().Planes(pixels, starts, height, width)


@functools.lru_cache(maxsize=32)
def _layout(batch: tuple[int, ...], strides: tuple[int, ...], size: int) -> tuple[Any, int]:
    """Where planes of so many pixels begin, and the length of all; kept, for of small frames it
    takes longer to find all of a call's than an iteration does."""
    starts = _kernels().plane_starts(batch, strides)
    return starts, int(starts.max()) + size if starts.size else 0


def _over_planes(frame: Tensor, n_iter: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(first, last)`` on blocks that cover all planes, on torch's number of threads."""
    planes = math.prod(frame.shape[:-2])
    threads = min(planes, torch.get_num_threads())
    if threads <= 1 or frame.numel() * n_iter < SERIAL_WORK:
        work(0, planes)
        return
    blocks = min(planes, 4 * threads)  # several a thread, so that a disturbed core holds up little
    waiting: SimpleQueue[tuple[int, int]] = SimpleQueue()
    for b in range(blocks):
        waiting.put((planes * b // blocks, planes * (b + 1) // blocks))

    def share() -> None:
        with suppress(Empty):
            while True:
                work(*waiting.get_nowait())

    on_threads(threads, share)
