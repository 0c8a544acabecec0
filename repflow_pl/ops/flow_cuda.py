"""The fused CUDA backend of the flow op: two sets of kernels behind a torch custom operator.

Those of cuda/flow.cu keep a plane's state in registers and shared memory. They are CUDA C++: a
thread's pixels have to stay in its registers while their edges go to its neighbours, but Triton,
whose threads cannot be told apart, moves a whole plane through memory for every shift by a pixel
and pads it to powers of two. Compiler and launcher are NVIDIA's own bindings, which torch for CUDA
installs. What those kernels do not take (float64, planes that no tiling fits, GPUs before 2020) is
done by Triton's (:mod:`repflow_pl.ops.flow_triton`), whose state lies in the GPU's memory.

Every plane is computed on its own and gradients of shared parameters are summed over planes in a
fixed order, without atomics.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from repflow_pl.ops.flow_cuda_tiling import Gpu
from repflow_pl.ops.flow_op import Gradients, empty_flow, empty_sums, register

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
    return importlib.import_module("repflow_pl.ops.flow_triton")


@functools.cache
def _chip() -> ModuleType:
    return importlib.import_module("repflow_pl.ops.flow_cuda_chip")


# --- the operator and its gradient ---------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What kernels run on. `launch`: of cuda/flow.cu; None where only Triton's can run."""

    gpu: Gpu
    launch: Callable[..., bool] | None


def launch_forward(
    machine: Machine, frame1: Tensor, frame2: Tensor, taps: Tensor, scalars: Tensor, n_iter: int
) -> Tensor:
    """Flow of frames [..., C, H, W] in any layout; taps [C, 26], scalars [3]."""
    flow = empty_flow(frame1)
    if n_iter == 0 or frame1.numel() == 0:
        return flow.zero_()
    if machine.launch is not None and _chip().forward(
        machine.gpu, machine.launch, frame1, frame2, taps, scalars, n_iter, flow
    ):
        return flow
    _kernels().forward(
        frame1.contiguous(), frame2.contiguous(), taps, scalars, n_iter,
        machine.gpu.multiprocessors, flow,
    )  # fmt: skip
    return flow


def launch_backward(
    machine: Machine,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    cotangent: Tensor,
    with_frames: bool,
    with_sums: bool,
) -> Gradients:
    """Gradients of the frames, whoever needs them, and ``with_sums`` the parameters' [C, 29]."""
    grad1, grad2 = frame1.new_empty(frame1.shape), frame1.new_empty(frame1.shape)
    if n_iter == 0 or frame1.numel() == 0:
        return grad1.zero_(), grad2.zero_(), empty_sums(frame1).zero_()
    sums: Tensor | None = None
    if machine.launch is not None:
        sums = _chip().backward(
            machine.gpu, machine.launch, cotangent, frame1, frame2, taps, scalars, n_iter,
            with_sums, grad1, grad2,
        )  # fmt: skip
    if sums is None:
        sums = _kernels().backward(
            cotangent.contiguous(), frame1.contiguous(), frame2.contiguous(), taps, scalars, n_iter,
            with_sums, machine.gpu.multiprocessors, grad1, grad2,
        )  # fmt: skip
    return grad1, grad2, sums


def _on_its_device(launch: Callable[..., Any]) -> Callable[..., Any]:
    """The launch, with what the tensors' device has: kernels start on the current one."""

    def launched(first: Tensor, *others: Tensor | int) -> Any:
        with torch.cuda.device(first.device):
            return launch(_machine(first.device), first, *others)

    return launched


@functools.cache
def _machine(device: torch.device) -> Machine:
    found = torch.cuda.get_device_properties(device)
    gpu = Gpu(
        multiprocessors=found.multi_processor_count,
        shared_bytes=found.shared_memory_per_multiprocessor,
        block_shared_bytes=found.shared_memory_per_block_optin,  # type: ignore[attr-defined]
        clusters=found.major >= 9,
    )
    return Machine(gpu, _launcher(device))


def _launcher(device: torch.device) -> Callable[..., bool] | None:
    """That of cuda/flow.cu, where its compiler and this GPU are made for it."""
    if torch.version.cuda is None:
        return None
    try:
        driver = importlib.import_module("repflow_pl.ops.flow_cuda_driver")
        launch: Callable[..., bool] = driver.launch
        return launch if driver.supports(device) else None
    except (ImportError, RuntimeError):  # bindings, or what they bind to, are not there
        return None


op = register("cuda", _on_its_device(launch_forward), _on_its_device(launch_backward))
