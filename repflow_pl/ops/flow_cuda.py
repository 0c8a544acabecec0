"""The fused CUDA backend of the flow op: Triton kernels behind a torch custom operator.

The kernels are in :mod:`repflow_pl.ops.flow_cuda_kernels`. Every plane is computed on its own and
gradients of shared parameters are summed over planes in a fixed order, without atomics.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType

import torch
from torch import Tensor

from repflow_pl.ops.flow_op import register

#: The largest plane taken. A plane is one program's, so few but larger ones would leave most of a
#: GPU idle, which eager's whole-tensor operations fill.
MAX_PIXELS, MAX_WIDTH = 256 * 256, 1024

_TRITON_FOUND = importlib.util.find_spec("triton") is not None


def refusal(frame: Tensor) -> str | None:
    """Why this backend cannot run on tensors like ``frame``; None where it can."""
    if frame.device.type != "cuda":
        return f"it needs tensors on a CUDA GPU, these are on {frame.device}"
    height, width = frame.shape[-2:]
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


def _forward(
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    learns_image: bool,
) -> tuple[Tensor, Tensor]:
    with torch.cuda.device(frame1.device):  # Triton launches on the current device
        return launch_forward(
            frame1, frame2, taps, scalars, n_iter, learns_image, _multiprocessors(frame1.device)
        )


def launch_forward(
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    learns_image: bool,
    multiprocessors: int,
) -> tuple[Tensor, Tensor]:
    """Flow of frames [N, C, H, W] in any layout; taps [C, 26], scalars [3]."""
    frame1, frame2 = frame1.contiguous(), frame2.contiguous()
    if n_iter == 0 or frame1.numel() == 0:
        return torch.zeros_like(frame1), torch.zeros_like(frame1)
    flow: tuple[Tensor, Tensor] = _kernels().forward(
        frame1, frame2, taps.contiguous(), scalars.contiguous(), n_iter, multiprocessors
    )
    return flow


def _backward(
    cot_x: Tensor,
    cot_y: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_frames: bool,
    with_sums: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.cuda.device(frame1.device):
        return launch_backward(
            cot_x, cot_y, frame1, frame2, taps, scalars, n_iter, with_frames, with_sums,
            _multiprocessors(frame1.device),
        )  # fmt: skip


def launch_backward(
    cot_x: Tensor,
    cot_y: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_frames: bool,
    with_sums: bool,
    multiprocessors: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the frames, whoever needs them, and ``with_sums`` of taps and scalars."""
    frame1, frame2 = frame1.contiguous(), frame2.contiguous()
    if n_iter == 0 or frame1.numel() == 0:
        return (
            torch.zeros_like(frame1),
            torch.zeros_like(frame1),
            taps.new_zeros(taps.shape),
            scalars.new_zeros(scalars.shape),
        )
    grad1, grad2, sums = _kernels().backward(
        cot_x.contiguous(), cot_y.contiguous(), frame1, frame2,
        taps.contiguous(), scalars.contiguous(), n_iter, with_sums, multiprocessors,
    )  # fmt: skip
    grad_taps, grad_scalars = sums.sum(0).split([taps.shape[1], scalars.shape[0]], dim=1)
    return (
        grad1,
        grad2,
        grad_taps.to(taps.dtype, copy=True),
        grad_scalars.sum(0).to(scalars.dtype, copy=True),
    )


op = register("cuda", _forward, _backward)
