"""Loads the kernels of cuda/flow.cu onto a GPU and launches them.

Imported on first use: only torch for CUDA brings these bindings along.
"""

from __future__ import annotations

import ctypes
import functools
import warnings
from typing import Any

import torch
from cuda.bindings import driver

from repflow_pl.ops.flow_cuda_code import Code, architectures, machine_code


def supports(device: torch.device) -> bool:
    """Whether the kernels can be compiled for this GPU and run on it."""
    architecture = _architecture(device.index)
    return architecture >= 80 and architecture in architectures()


def launch(code: Code, blocks: int, *arguments: ctypes.Structure) -> bool:
    """Start the kernel on the current device and stream; False, said once, where it won't load."""
    device = torch.cuda.current_device()
    _make_current(device)
    kernel = _loaded(device, code)
    if kernel is None:
        return False
    pointers = (ctypes.c_void_p * len(arguments))(*map(ctypes.addressof, arguments))
    tiling, stream = code.tiling, torch.cuda.current_stream().cuda_stream
    _ok(
        driver.cuLaunchKernel(
            kernel, blocks, 1, 1, tiling.threads, 1, 1, tiling.shared_bytes, stream,
            ctypes.addressof(pointers), 0,
        )
    )  # fmt: skip
    return True


@functools.cache
def _loaded(device: int, code: Code) -> Any:
    try:
        module = _ok(driver.cuModuleLoadData(machine_code(code, _architecture(device))))
        kernel = _ok(driver.cuModuleGetFunction(module, code.name.encode()))
        most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _ok(driver.cuFuncSetAttribute(kernel, most, code.tiling.shared_bytes))
    except RuntimeError as error:
        warnings.warn(
            f"A flow kernel for this GPU could not be used, a slower one takes its place: {error}",
            stacklevel=2,
        )
        return None
    return kernel


def _make_current(device: int) -> None:
    """The device's context: a thread of autograd's may have none before its first launch."""
    if int(_ok(driver.cuCtxGetCurrent())) == 0:
        _ok(driver.cuCtxSetCurrent(_ok(driver.cuDevicePrimaryCtxRetain(device))))


@functools.cache
def _architecture(device: int) -> int:
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def _ok(result: tuple[Any, ...]) -> Any:
    status, *values = result
    if status != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA failed: {status.name}")
    return values[0] if len(values) == 1 else values
