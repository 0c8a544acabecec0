"""The fused CUDA backend of the flow op: Triton kernels behind a torch custom operator.

The kernels are in :mod:`repflow_pl.ops.flow_cuda_kernels`. Every plane is computed on its own and
gradients of shared parameters are summed over planes in a fixed order, without atomics.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from repflow_pl.ops.flow_op import Gradients, empty_flow, register, split_sums

#: The largest plane taken. A plane is one program's, so few but larger ones would leave most of a
#: GPU idle, which eager's whole-tensor operations fill.
MAX_PIXELS, MAX_WIDTH = 256 * 256, 1024

_TRITON_FOUND = importlib.util.find_spec("triton") is not None


def refusal(frame: Tensor) -> str | None:
    """Why this backend cannot run on tensors like ``frame``; None where it can."""
    if frame.device.type != "cuda":
        return f"it needs tensors on a CUDA GPU, these are on {frame.device}"
    height, width = (1, 1, *frame.shape)[-2:]  # asked about a device: any tensor on it will do
    if height * width > MAX_PIXELS or width > MAX_WIDTH:
        return (
            f"it takes planes up to {MAX_PIXELS} pixels and {MAX_WIDTH} columns, "
            f"these are {height} x {width}"
        )
    if torch.compiler.is_compiling():  # the tracer cannot follow an import
        return None if _TRITON_FOUND else "triton is not installed"
    return _device_refusal(frame.device) or _import_error()


@functools.cache
def _device_refusal(device: torch.device) -> str | None:
    if torch.version.cuda is not None and torch.cuda.get_device_capability(device) < (7, 0):
        return "triton needs a GPU of compute capability 7.0 (Volta, 2017) or later"
    return None


@functools.cache
def _import_error() -> str | None:
    try:
        _kernels()
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return None


@functools.cache
def _kernels() -> ModuleType:
    return importlib.import_module("repflow_pl.ops.flow_cuda_kernels")


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


# --- the operator and its gradient ---------------------------------------------------------------


def launch_forward(
    frame1: Tensor,
    frame2: Tensor,
    image: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    multiprocessors: int,
) -> Tensor:
    """Flow of frames [..., C, H, W] in any layout; image [C, 18], taps [C, 8], scalars [3]."""
    flow = empty_flow(frame1)
    if n_iter == 0 or frame1.numel() == 0:
        return flow.zero_()
    kernels = torch.cat([image, taps], dim=1)
    _kernels().forward(
        frame1.contiguous(), frame2.contiguous(), kernels, scalars.contiguous(), n_iter,
        multiprocessors, flow,
    )  # fmt: skip
    return flow


def launch_backward(
    cotangent: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    image: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_frames: bool,
    with_sums: bool,
    multiprocessors: int,
) -> Gradients:
    """Gradients of the frames, whoever needs them, and ``with_sums`` of the parameters."""
    frame1, frame2 = frame1.contiguous(), frame2.contiguous()
    if n_iter == 0 or frame1.numel() == 0:
        nothing = split_sums(taps.new_zeros(len(taps), 29), image, taps, scalars)
        return torch.zeros_like(frame1), torch.zeros_like(frame1), *nothing
    grad1, grad2, sums = _kernels().backward(
        cotangent.contiguous(), frame1, frame2,
        torch.cat([image, taps], dim=1), scalars.contiguous(), n_iter, with_sums, multiprocessors,
    )  # fmt: skip
    return grad1, grad2, *split_sums(sums.sum(0), image, taps, scalars)


def _on_its_device(launch: Callable[..., Any]) -> Callable[..., Any]:
    """The launch, with what the tensors' device has: Triton launches on the current one."""

    def launched(first: Tensor, *others: Tensor | int) -> Any:
        with torch.cuda.device(first.device):
            return launch(first, *others, _multiprocessors(first.device))

    return launched


op = register("cuda", _on_its_device(launch_forward), _on_its_device(launch_backward))
