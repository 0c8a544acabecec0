"""The fused CUDA backend: in Triton's interpreter, compiled without a GPU, and on one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from repflow_pl.ops import available_backends, flow_cuda

from . import gpu_checks, triton_code
from .flow_reference import reference, spatial_case

ROOT = Path(__file__).parents[2]
H100_MULTIPROCESSORS = 132
OLDEST_TRITON = "3.6.0"  # of torch 2.11


# --- without a GPU -------------------------------------------------------------------------------


def _interpreted(*options: str) -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/ops/interpreted_flow_cuda.py", *options],
        env={
            **os.environ,
            "TRITON_INTERPRET": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they take longer to import than Triton
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout)


@pytest.mark.long
def test_interpreted() -> None:
    _interpreted()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_takes_minutes_interpreted() -> None:
    _interpreted("-m", "slow")


COMPILED = [
    ("forward", (28, 28), "fp32", True),
    ("backward", (28, 28), "fp32", True),
    *[
        pytest.param(kernel, size, dtype, with_sums, marks=pytest.mark.slow)
        for kernel, size, dtype, with_sums in [
            ("forward", (2, 2), "fp32", True),
            ("forward", (112, 112), "fp32", True),
            ("forward", (64, 1024), "fp32", True),
            ("forward", (28, 28), "fp64", True),
            ("backward", (28, 28), "fp32", False),
            ("backward", (7, 7), "fp32", True),
            ("backward", (56, 56), "fp32", True),
            ("backward", (112, 112), "fp32", True),
            ("backward", (64, 1024), "fp32", True),
            ("backward", (28, 28), "fp64", True),
        ]
    ],
]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler is made for Linux")
@pytest.mark.parametrize("kernel, size, dtype, with_sums", COMPILED)
def test_compiles_for_an_h100(
    kernel: str, size: tuple[int, int], dtype: str, with_sums: bool
) -> None:
    """And its registers let a multiprocessor hold the warps that a launch counts on."""
    pytest.importorskip("triton")
    _check_code(triton_code.compiled(kernel, size, dtype, with_sums))


@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler is made for Linux")
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiles_with_the_oldest_triton(tmp_path: Path) -> None:
    """That of the oldest torch allowed, whose code needs more registers; fetched for this test."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path)]
    fetched = subprocess.run([*pip, f"triton=={OLDEST_TRITON}"], capture_output=True, text=True)
    if fetched.returncode:
        pytest.skip(f"triton {OLDEST_TRITON} could not be fetched: {fetched.stderr[-200:]}")
    for kernel, *size in (("forward", 28, 28), ("backward", 28, 28), ("backward", 56, 56)):
        done = subprocess.run(
            [sys.executable, "-m", "tests.ops.triton_code", kernel, *map(str, size)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        code = triton_code.TritonCode(**json.loads(done.stdout))
        assert code.triton == OLDEST_TRITON
        _check_code(code)


def _check_code(code: triton_code.TritonCode) -> None:
    # a change of layout would pass fields through shared memory, which no phase needs
    assert not code.converts_layouts
    assert code.spilt <= 64  # bytes a thread: hardly a register
    assert code.registers * code.threads <= 65536
    if code.dtype == "fp32":
        assert code.registers * 32 * code.wanted_warps <= 65536


def test_memory_of_the_backward() -> None:
    """At the paper's size: beside the gradients, 1/20 of what autograd keeps, or less."""
    kernels = pytest.importorskip("repflow_pl.ops.flow_triton", exc_type=ImportError)
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    kept: list[Tensor] = []  # no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return note(tensor)

    case = spatial_case((2, 1, 28, 28), 20).to(torch.float32)
    leaves = [t.requires_grad_() for t in case.tensors]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        reference(leaves, 20)
    autograd = sum(sizes.values()) * 120 * 32 // 2

    frame = torch.empty(120, 32, 28, 28, device="meta")
    tile = kernels._tile_of(28, 28)
    scratch, _ = kernels._backward_scratch(frame, frame.dtype, 20, tile, H100_MULTIPROCESSORS)
    sums = 120 * 32 * 29 * 8
    assert scratch.nbytes + sums <= autograd / 20


def test_scratch_is_bounded() -> None:
    kernels = pytest.importorskip("repflow_pl.ops.flow_triton", exc_type=ImportError)
    frame = torch.empty(120, 32, 256, 256, dtype=torch.float64, device="meta")
    tile = kernels._tile_of(256, 256)
    scratch, segment = kernels._backward_scratch(
        frame, frame.dtype, 100, tile, H100_MULTIPROCESSORS
    )
    assert segment == 10
    assert 2**29 < scratch.nbytes <= 2**30
    few, segment = kernels._backward_scratch(
        frame[:1, :1], frame.dtype, 3, tile, H100_MULTIPROCESSORS
    )
    assert segment == 3 and len(few) == 1


def test_a_tensor_elsewhere_is_refused() -> None:
    assert "it needs tensors on a CUDA GPU" in str(flow_cuda.refusal(torch.zeros(1, 1, 4, 4)))


def test_large_planes_are_refused() -> None:
    with FakeTensorMode():
        for shape in ((1, 1, 257, 256), (1, 1, 2, 1025)):
            large = torch.empty(shape, device="cuda")
            assert "it takes planes up to 65536 pixels" in str(flow_cuda.refusal(large))


@pytest.mark.parametrize("shape", [(), (1,), (4, 4), (1, 1, 2, 2)])
def test_any_tensor_on_a_gpu_asks_for_its_backends(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for reason in ("_device_refusal", "_import_error"):
        monkeypatch.setattr(flow_cuda, reason, lambda *device: None)
    with FakeTensorMode():
        assert available_backends(torch.empty(shape, device="cuda")) == ("cuda", "eager")


# --- on a GPU ------------------------------------------------------------------------------------

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


@on_gpu
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(run, id=name)
        for kernels in gpu_checks.KERNELS
        for name, run in gpu_checks.checks(kernels)
    ],
)
def test_gpu(check: Callable[[], None]) -> None:
    check()
