"""The kernels of cuda/flow.cu on the CPU, compiled by g++; see cuda_on_host.h."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from repflow_pl.ops.flow_cuda_code import FOLDER, FRAMES, Code

HERE = Path(__file__).parent


@dataclass(frozen=True)
class HostLaunch:
    """Runs kernels as a launch would; threads take their turns in an order that `seed` decides.

    `rough`: the fast functions have the GPU's errors.
    """

    seed: int = 0
    rough: bool = False

    def __call__(self, code: Code, blocks: int, *arguments: ctypes.Structure) -> bool:
        kernel = _compiled(code, self.rough)
        assert kernel(*map(ctypes.byref, arguments), blocks, self.seed) == 0, "faults"
        return True


@functools.cache
def _compiled(code: Code, rough: bool) -> ctypes._NamedFuncPointer:
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to run the CUDA kernels on the CPU with")
    constants = code.tiling.constants() | {"WITH_SUMS": int(code.with_sums)}
    if code.frame == torch.float64:
        constants |= {"DOUBLE": 1, "SHARED": 2 * code.tiling.shared_bytes}
    if rough:
        constants["ROUGH"] = 1
    frame = {**FRAMES, torch.float32: "Real", torch.float64: "Real"}[code.frame]
    files = [HERE / "cuda_on_host.h", FOLDER / "flow.cu", HERE / "cuda_on_host_runner.h"]
    library = Path(tempfile.mkdtemp()) / "flow.so"
    options = [f"-D{name}={value}" for name, value in (constants | {"FRAME": frame}).items()]
    command = ["g++", "-std=c++17", "-O1", "-fno-strict-aliasing", "-shared", "-fPIC", "-w"]
    done = subprocess.run(
        [*command, *options, "-x", "c++", "-", "-o", str(library)],
        input="".join(f'#include "{file}"\n' for file in files),
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))[f"run_{code.name.removeprefix('flow_')}"]
