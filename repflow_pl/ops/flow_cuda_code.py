"""The kernels of cuda/flow.cu as machine code of a GPU, by NVIDIA's compiler that comes with torch.

Imported on first use: only torch for CUDA brings the compiler along.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cuda.bindings import nvrtc

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write, cache_dir
from repflow_pl.ops.flow_cuda_tiling import Tiling

FOLDER = Path(__file__).parent / "cuda"

#: The types of frames that there are kernels for, by their names there.
FRAMES = {torch.float32: "float", torch.float16: "Half", torch.bfloat16: "Brain"}


@dataclass(frozen=True)
class Code:
    """One kernel: the forward or, for a tiling that keeps states, the backward."""

    tiling: Tiling
    frame: torch.dtype
    with_sums: bool = False

    @property
    def name(self) -> str:
        return "flow_backward" if self.tiling.kept else "flow_forward"


def architectures() -> set[int]:
    """What can be compiled for: 90 is compute capability 9.0."""
    return set(_ok(nvrtc.nvrtcGetSupportedArchs()))


def machine_code(code: Code, architecture: int) -> bytes:
    """As :func:`compiled`, which takes seconds; kept in the user's cache for later processes."""
    try:
        folder = cache_dir() / "cuda"
    except ImportError:  # the layers run where only torch is
        return compiled(code, architecture)
    made_of = repr((_source(), _options(code, architecture), _ok(nvrtc.nvrtcVersion())))
    path = folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.cubin"
    with suppress(OSError):
        return path.read_bytes()
    made = compiled(code, architecture)
    with suppress(UserError), atomic_write(path, "wb") as file:
        file.write(made)
    return made


def _source() -> str:
    return "".join((FOLDER / file).read_text("utf-8") for file in ("device.cuh", "flow.cu"))


def _options(code: Code, architecture: int) -> list[str]:
    constants = {"FRAME": FRAMES[code.frame], "WITH_SUMS": int(code.with_sums)}
    defined = [f"-D{name}={value}" for name, value in (constants | code.tiling.constants()).items()]
    return [*defined, f"--gpu-architecture=sm_{architecture}", "--std=c++17"]


def compiled(code: Code, architecture: int) -> bytes:
    """The kernel for GPUs of one architecture. Errors: RuntimeError with the compiler's words."""
    options = _options(code, architecture)
    program = _ok(nvrtc.nvrtcCreateProgram(_source().encode(), b"flow.cu", 0, [], []))
    try:
        done = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
        if done[0] != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = b" " * _ok(nvrtc.nvrtcGetProgramLogSize(program))
            _ok(nvrtc.nvrtcGetProgramLog(program, log))
            raise RuntimeError(f"cuda/flow.cu was not compiled: {log.decode()}")
        cubin: bytes = b" " * _ok(nvrtc.nvrtcGetCUBINSize(program))
        _ok(nvrtc.nvrtcGetCUBIN(program, cubin))
        return cubin
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _ok(result: tuple[Any, ...]) -> Any:
    status, *values = result
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"NVIDIA's compiler failed: {status.name}")
    return values[0] if len(values) == 1 else values
