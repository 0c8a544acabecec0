"""The kernels of cuda/flow.cu: run on the CPU, compiled for an H100, and launched."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from repflow_pl.ops import flow_cuda
from repflow_pl.ops.flow_cuda_tiling import Gpu, Tiling, backward_tiling, forward_tiling
from repflow_pl.ops.flow_op import packing

from . import gpu_checks, sass
from .flow_cases import RESULTS, Case, operator_inputs, relative
from .flow_reference import (
    fused,
    half_precision_iterates_in_float32,
    reference,
    results_of,
    spatial_case,
)

pytest.importorskip("cuda.bindings", reason="only torch for CUDA brings NVIDIA's bindings along")

from repflow_pl.ops import flow_cuda_chip, flow_cuda_code
from repflow_pl.ops.flow_cuda_arguments import Flow, Inputs, Planes, addressable
from repflow_pl.ops.flow_cuda_code import FRAMES, Code, compiled

from .host_flow_cuda import HostLaunch

H100 = Gpu(132, 228 * 1024, 227 * 1024, clusters=True)


# --- run on the CPU ------------------------------------------------------------------------------


def on_host(launch: HostLaunch) -> None:
    """From here on the CUDA operators take tensors on the CPU."""
    machine = flow_cuda.Machine(H100, launch)
    forward = functools.partial(flow_cuda.launch_forward, machine)
    flow_cuda.op.forward.register_kernel("cpu")(packing(forward))
    backward = functools.partial(flow_cuda.launch_backward, machine)
    flow_cuda.op.backward.register_kernel("cpu")(backward)


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    on_host(HostLaunch())
    monkeypatch.setitem(FRAMES, torch.float64, "double")  # to see errors of 1e-15


@pytest.fixture
def tiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tiling, int], None]:
    """Makes the kernels use one tiling, the backward with so many states in shared memory."""

    def use(tiling: Tiling, kept: int) -> None:
        backward = replace(tiling, kept=kept)
        monkeypatch.setattr(flow_cuda_chip, "forward_tiling", lambda *_: tiling)
        monkeypatch.setattr(flow_cuda_chip, "backward_tiling", lambda *_: backward)

    return use


def agree(case: Case, limit: float) -> list[Tensor]:
    found, wanted = results_of(fused, case), results_of(reference, case)
    for name, ours, theirs in zip(RESULTS, found, wanted, strict=True):
        assert relative(ours, theirs) < limit, name
    return found


TILINGS = [
    # several planes a block, of which the last block has fewer; threads of several rows
    (Tiling(6, 8, rows=2, strip=4, planes=2), 3, (1, 3), 6),
    # bands of a plane: a cluster of blocks
    (Tiling(9, 4, rows=1, strip=2, bands=3), 5, (1, 2), 9),
    *[
        pytest.param(*each, marks=pytest.mark.slow)
        for each in [
            (Tiling(7, 7, rows=1, strip=7, planes=3), 2, (2, 4), 5),
            (Tiling(7, 7, rows=7, strip=1, planes=32), 4, (2, 40), 3),
            (Tiling(6, 6, rows=3, strip=1, bands=2), 4, (1, 2), 20),
            (Tiling(8, 4, rows=1, strip=4, bands=8), 3, (1, 1), 4),
            (Tiling(2, 2, rows=1, strip=1), 5, (1, 3), 4),
            (Tiling(2, 2, rows=2, strip=2), 3, (1, 1), 2),
        ]
    ],
]


@pytest.mark.long
@pytest.mark.parametrize("tiling, kept, planes, n_iter", TILINGS)
def test_agrees_with_the_reference_in_any_order_of_threads(
    tiling: Tiling,
    kept: int,
    planes: tuple[int, int],
    n_iter: int,
    tiled: Callable[[Tiling, int], None],
) -> None:
    tiled(tiling, kept)
    case = spatial_case((*planes, tiling.height, tiling.width), n_iter)
    found = agree(case, 1e-12)
    on_host(HostLaunch(seed=1))
    assert all(map(torch.equal, results_of(fused, case), found))


@pytest.fixture
def small(tiled: Callable[[Tiling, int], None]) -> None:
    """A tiling for planes of 6 x 8, whose code the tests share."""
    tiled(Tiling(6, 8, rows=2, strip=4, planes=2), 3)


@pytest.mark.parametrize("n_iter", [1, 2, 3, 8])
def test_any_number_of_iterations(n_iter: int, small: None) -> None:
    agree(spatial_case((1, 3, 6, 8), n_iter), 1e-12)


def test_few_blocks_take_many_planes(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_cuda_chip, "STORED_BYTES", 0)
    agree(spatial_case((3, 2, 6, 8), 7), 1e-12)


def test_frames_are_read_where_they_lie(small: None) -> None:
    """Those of clips [B, K, T, H, W] are neither copied nor confused with their neighbours."""
    case = spatial_case((6, 2, 6, 8), 3)
    clips = torch.stack([frame.unflatten(0, (2, 3)) for frame in case.tensors[:2]], dim=2)
    views = clips.flatten(1, 2).transpose(1, 2).contiguous().transpose(1, 2)
    frame1, frame2 = views[:, 0::2], views[:, 1::2]
    for frame in (frame1, frame2):
        assert not frame.is_contiguous() and addressable(frame) is frame
    frames = [frame.unflatten(0, (2, 3)) for frame in case.tensors[:2]]
    assert torch.equal(frame1, frames[0]) and torch.equal(frame2, frames[1])
    *inputs, n_iter = operator_inputs(case)
    wanted = flow_cuda.op.forward(*inputs, n_iter)[0].unflatten(0, (2, 3))
    assert torch.equal(flow_cuda.op.forward(frame1, frame2, *inputs[2:], n_iter)[0], wanted)


def test_frames_with_scattered_pixels(small: None) -> None:
    case = spatial_case((1, 2, 6, 8), 2)
    turned = [frame.mT.contiguous().mT for frame in case.tensors[:2]]
    cotangents = [c.contiguous(memory_format=torch.channels_last) for c in case.cotangents]
    moved = Case([*turned, *case.tensors[2:]], cotangents, 2)
    assert all(map(torch.equal, results_of(fused, moved), results_of(fused, case)))


@pytest.mark.parametrize("bad, row, column", [(math.nan, 2, 4), (math.nan, 5, 7), (math.inf, 5, 7)])
def test_nan_stays_in_its_plane(bad: float, row: int, column: int, small: None) -> None:
    case = spatial_case((1, 3, 6, 8), 2)
    clean = results_of(fused, case)
    case.tensors[0][0, 1, row, column] = bad
    ours, wanted = results_of(fused, case), results_of(reference, case)
    for k in range(4):
        assert torch.equal(ours[k][0, [0, 2]], clean[k][0, [0, 2]])
    for k in range(2):
        assert torch.equal(ours[k].isnan(), wanted[k].isnan())
    assert ours[0][0, 1].isnan().any() and not ours[0][0, 1].isnan().all()


@pytest.mark.parametrize("scalar", [8, 9, 10])
def test_a_nan_parameter_is_not_clamped_away(scalar: int, small: None) -> None:
    case = spatial_case((1, 1, 6, 8), 2)
    case.tensors[scalar].fill_(math.nan)
    for ours, wanted in zip(fused(case.tensors, 2), reference(case.tensors, 2), strict=True):
        assert torch.equal(ours.isnan(), wanted.isnan()) and ours.isnan().any()


@pytest.mark.parametrize("shape, n_iter", [((0, 2, 6, 8), 3), ((2, 0, 6, 8), 3), ((1, 1, 6, 8), 0)])
def test_nothing_to_do(shape: tuple[int, int, int, int], n_iter: int) -> None:
    assert not any(found.any() for found in results_of(fused, spatial_case(shape, n_iter)))


@pytest.mark.long
def test_compiles_in_one_graph(small: None) -> None:
    case = spatial_case((1, 2, 6, 8), 2)
    torch.library.opcheck(flow_cuda.op.forward, operator_inputs(case))
    compiled = torch.compile(lambda tensors: fused(tensors, 2), fullgraph=True, backend="aot_eager")
    found = results_of(lambda leaves, _: compiled(leaves), case)
    assert all(map(torch.equal, found, results_of(fused, case)))


# --- what experiments/gpu_check.py asks of a GPU, as far as a CPU can answer ---------------------


@pytest.mark.long
@pytest.mark.parametrize(
    "dtype", [pytest.param(torch.float16, marks=pytest.mark.slow), torch.bfloat16]
)
def test_half_precision_iterates_in_float32(dtype: torch.dtype, small: None) -> None:
    half_precision_iterates_in_float32(dtype, (1, 3, 6, 8), 4)


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [n if n == 3 else pytest.param(n, marks=pytest.mark.slow) for n in range(10)]
)
def test_golden_in_the_precision_of_the_gpu(number: int) -> None:
    """With the tiling of an H100, float32, and functions as far off as the GPU's fast ones."""
    on_host(HostLaunch(rough=True))
    gpu_checks.golden(number, "cpu")


@pytest.mark.long
def test_checks_fail_where_results_are_wrong(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 3, 6, 8)
    gpu_checks.agrees(shape, 2, "cpu")
    gpu_checks.every_plane_agrees(shape, 2, "cpu")

    def with_a_wrong_plane(run: Callable[..., Any], case: Case, device: str) -> list[Tensor]:
        found = results_of(run, case, device)
        if run is fused:
            found[RESULTS.index("grad_frame1")][1, 2] *= 1.1
        return found

    monkeypatch.setattr(gpu_checks, "results_of", with_a_wrong_plane)
    for check in (gpu_checks.agrees, gpu_checks.every_plane_agrees):
        with pytest.raises(AssertionError, match="grad_frame1"):
            check(shape, 2, "cpu")


def test_checks_know_which_kernels_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = flow_cuda.Machine(H100, HostLaunch())
    monkeypatch.setattr(flow_cuda, "_machine", lambda device: machine)
    with gpu_checks.only("triton"):
        assert flow_cuda._machine(torch.device("cuda")).launch is None
    with gpu_checks.only("flow.cu"), pytest.raises(AssertionError, match="did not run"):
        fused(spatial_case((1, 1, 67, 67), 1).to(torch.float32).tensors, 1)


# --- the choice of a tiling ----------------------------------------------------------------------

SIZES = [(14, 14), (28, 28), (56, 56), (112, 112)]
GPUS = [
    H100,
    Gpu(108, 164 * 1024, 163 * 1024, clusters=False),  # A100
    Gpu(84, 100 * 1024, 99 * 1024, clusters=False),  # RTX 3090
]


@pytest.mark.parametrize("size", [*SIZES, (7, 7), (2, 2), (9, 13), (45, 67), (28, 27)])
@pytest.mark.parametrize("gpu", GPUS)
def test_a_tiling_fits_its_gpu(gpu: Gpu, size: tuple[int, int]) -> None:
    for n_planes in (1, 90, 11520):
        for choose in (forward_tiling, backward_tiling):
            tiling = choose(gpu, n_planes, *size)
            if tiling is None:  # its planes are Triton's
                assert gpu != H100
                continue
            assert size == (tiling.height, tiling.width)
            assert size[0] % (tiling.bands * tiling.rows) == 0 and size[1] % tiling.strip == 0
            assert tiling.bands == 1 or (tiling.planes == 1 and gpu.clusters)
            assert tiling.threads <= 1024
            assert tiling.shared_bytes <= gpu.block_shared_bytes
            assert tiling.blocks * (tiling.shared_bytes + 1024) <= gpu.shared_bytes


def test_planes_without_a_tiling() -> None:
    assert forward_tiling(H100, 10, 67, 67) is None
    assert backward_tiling(H100, 10, 256, 256) is None


@pytest.mark.parametrize("size", SIZES)
def test_hardly_a_thread_of_the_forward_is_idle(size: tuple[int, int]) -> None:
    tiling = forward_tiling(H100, 360 * 32, *size)
    assert tiling is not None and tiling.threads <= 1.1 * tiling.workers


@pytest.mark.parametrize("size", SIZES)
def test_memory_of_the_backward(size: tuple[int, int]) -> None:
    """At 20 iterations, beside the gradients: 1/50 of the least that autograd keeps, or less."""
    n_planes = 120 * 32
    tiling = backward_tiling(H100, n_planes, *size)
    assert tiling is not None
    blocks, states, numbers = flow_cuda_chip._stored(H100, tiling, n_planes, 20)
    used = 4 * blocks * states * numbers + 8 * 29 * n_planes * tiling.bands
    autograd = 20 * 30 * 4 * n_planes * math.prod(size)  # 30 fields an iteration; it keeps more
    assert used <= autograd / 50


# --- compiled for an H100 ------------------------------------------------------------------------


def _code(
    size: tuple[int, int], backward: bool, with_sums: bool = True
) -> tuple[sass.Sass, Tiling]:
    tiling = (backward_tiling if backward else forward_tiling)(H100, 360 * 32, *size)
    assert tiling is not None
    return sass.read(compiled(Code(tiling, torch.float32, with_sums), 90)), tiling


def _iterations(code: sass.Sass) -> list[sass.Loop]:
    """The loops that take roots: of the forward one; of the backward the way to the last segment,
    a segment once more, and back."""
    return [loop for loop in code.loops if loop.count("MUFU")]


def _barriers(loop: sass.Loop) -> int:
    return loop.count("BAR.SYNC") + loop.count("UCGABAR_WAIT")


@pytest.mark.long
@pytest.mark.parametrize(
    "size",
    [size if size == (28, 28) else pytest.param(size, marks=pytest.mark.slow) for size in SIZES],
)
def test_instructions_registers_and_barriers(size: tuple[int, int]) -> None:
    n_iter = 20
    forward, tiling = _code(size, backward=False)
    (iteration,) = _iterations(forward)
    idle = tiling.threads / tiling.workers
    instructions = iteration.count() / tiling.pixels * idle
    assert instructions <= 60
    assert forward.spilt == 0 and _barriers(iteration) == 2

    backward, tiling = _code(size, backward=True)
    length = tiling.kept - 1
    segments = -(-n_iter // length)
    loops = _iterations(backward)
    once, again, back = (loop.count() / tiling.pixels / n_iter for loop in loops)
    first = (segments - 1) * length
    repeated = first * (length - 1) // length + n_iter - first - 1
    idle = tiling.threads / tiling.workers
    instructions += (once * first + again * repeated + back * n_iter) * idle
    assert instructions <= 350
    assert {_barriers(loop) for loop in loops} == {2}
    # Up to four registers, once a plane or a segment: none where iterations spend their time.
    assert backward.spilt <= 16 and not any(loop.count("LDL", "STL") for loop in backward.loops)


@pytest.mark.slow
@pytest.mark.parametrize("size", [*SIZES, (7, 7), (45, 67)])
@pytest.mark.parametrize("frame", list(FRAMES))
@pytest.mark.parametrize("with_sums", [True, False])
def test_compiles_for_every_frame(
    size: tuple[int, int], frame: torch.dtype, with_sums: bool
) -> None:
    for gpu, architecture in zip(GPUS, (90, 80, 86), strict=True):
        for tiling in (forward_tiling(gpu, 3840, *size), backward_tiling(gpu, 3840, *size)):
            if tiling is not None:
                code = sass.read(compiled(Code(tiling, frame, with_sums), architecture))
                assert code.registers * tiling.threads * tiling.blocks <= 65536


def test_code_is_kept_for_later_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []

    def compile_once(code: Code, architecture: int) -> bytes:
        times.append(architecture)
        return b"code for %d" % architecture

    monkeypatch.setattr(flow_cuda_code, "compiled", compile_once)
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    code = Code(Tiling(4, 4, 1, 4), torch.float32)
    for architecture in (90, 90, 80, 90):
        found = flow_cuda_code.machine_code(code, architecture)
        assert found == b"code for %d" % architecture
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REPFLOW_CACHE", "~/cache")
    flow_cuda_code.machine_code(code, 90)
    assert times == [90, 80]
    other = Code(Tiling(4, 4, 2, 4), torch.float32)
    flow_cuda_code.machine_code(other, 90)
    assert times == [90, 80, 90]
    (tmp_path / "file").touch()  # no folder can be made there
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert flow_cuda_code.machine_code(code, 90) == b"code for 90"
    assert times == [90, 80, 90, 90, 90]


# --- launched ------------------------------------------------------------------------------------


def test_a_launch_hands_over_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    from repflow_pl.ops import flow_cuda_driver as ours

    seen = []

    def record(kernel: str, *rest: int) -> tuple[object]:
        pointers = ctypes.cast(rest[-2], ctypes.POINTER(ctypes.c_void_p))
        seen.append((kernel, rest[:8], Flow.from_address(pointers[1] or 0).pixels))
        return (ours.driver.CUresult.CUDA_SUCCESS,)

    tiling = Tiling(6, 8, rows=2, strip=4, planes=2)
    stream = type("Stream", (), {"cuda_stream": 77})
    monkeypatch.setattr(ours.driver, "cuLaunchKernel", record)
    monkeypatch.setattr(ours, "_make_current", lambda device: None)
    monkeypatch.setattr(ours, "_loaded", lambda device, code: code.name)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", stream)
    flow = Flow(4711, Planes(2, 1, 48, 96, 0))
    assert ours.launch(Code(tiling, torch.float32), 5, Inputs(), flow)
    assert seen == [("flow_forward", (5, 1, 1, 32, 1, 1, tiling.shared_bytes, 77), 4711)]


def test_a_kernel_that_cannot_be_loaded_is_left_to_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    from repflow_pl.ops import flow_cuda_driver as ours

    def fail(*_: object) -> bytes:
        raise RuntimeError("CUDA failed: CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(ours, "_make_current", lambda device: None)
    monkeypatch.setattr(ours, "machine_code", fail)
    monkeypatch.setattr(ours, "_architecture", lambda device: 90)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    code = Code(Tiling(4, 4, 1, 4), torch.float32)
    with pytest.warns(UserWarning, match="a slower one takes its place: CUDA failed"):
        assert not ours.launch(code, 1)
    ours._loaded.cache_clear()
