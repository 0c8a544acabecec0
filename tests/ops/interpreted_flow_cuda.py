"""The CUDA backend's kernels in Triton's interpreter, which runs them on CPU tensors.

The interpreter has to be chosen before triton is first imported, so test_flow_cuda.py runs this
file in a process of its own.
"""

from __future__ import annotations

import functools
import math
import os

import pytest
import torch
from torch import Tensor

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("runs under TRITON_INTERPRET=1", allow_module_level=True)

from repflow_pl.ops import flow_cuda, flow_triton
from repflow_pl.ops.flow_cuda_tiling import Gpu
from repflow_pl.ops.flow_op import packing, segment_length

from .flow_cases import RESULTS, Case, operator_inputs, relative
from .flow_reference import (
    fused,
    half_precision_iterates_in_float32,
    reference,
    results_of,
    spatial_case,
    spatial_golden_case,
)

MACHINE = flow_cuda.Machine(Gpu(1, 0, 0, clusters=False), launch=None)
flow_cuda.op.forward.register_kernel("cpu")(
    packing(functools.partial(flow_cuda.launch_forward, MACHINE))
)
flow_cuda.op.backward.register_kernel("cpu")(functools.partial(flow_cuda.launch_backward, MACHINE))


def agree(case: Case, limit: float) -> None:
    wanted = results_of(reference, case)
    for name, ours, theirs in zip(RESULTS, results_of(fused, case), wanted, strict=True):
        assert relative(ours, theirs) < limit, name


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# The interpreter takes a tenth of a second for an iteration of a plane. The quick tests below hold
# the kernels to the reference, and the reference to the golden cases.
@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_golden(number: int) -> None:
    case, expected = spatial_golden_case(number)
    found = results_of(fused, case)
    found[4], found[5] = found[4][:, 1, :], found[5][:, :, 1]
    for name, ours, wanted in zip(RESULTS, found, expected, strict=True):
        assert relative(ours, wanted) < 1e-9, name


@pytest.mark.parametrize("number", range(10))
def test_the_reference_itself(number: int) -> None:
    case, expected = spatial_golden_case(number)
    found = results_of(reference, case)
    found[4], found[5] = found[4][:, 1, :], found[5][:, :, 1]
    for name, ours, wanted in zip(RESULTS, found, expected, strict=True):
        assert relative(ours, wanted) < 1e-9, name


@pytest.mark.parametrize(
    "shape, n_iter",
    [((1, 2, 5, 6), 3), ((2, 1, 2, 5), 1), ((1, 1, 5, 2), 2), ((1, 1, 2, 2), 2)],
)
def test_all_weights_of_the_image_kernels(shape: tuple[int, int, int, int], n_iter: int) -> None:
    agree(spatial_case(shape, n_iter), 1e-11)


# three tiles each: one has neighbours above and below; of the first shape the last is not full
@pytest.mark.parametrize("shape", [(1, 1, 5, 6), (1, 1, 3, 17)])
def test_planes_of_several_tiles(
    shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_triton, "TILE", 16)
    assert -(-shape[2] // flow_triton._tile_of(*shape[2:]).rows) == 3
    agree(spatial_case(shape, 2), 1e-11)


@pytest.mark.parametrize("n_iter", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_checkpoints_change_no_bit(n_iter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From three iterations on, a segment is shorter than all of them."""
    case = spatial_case((1, 1, 3, 4), n_iter)
    stored = results_of(fused, case)
    monkeypatch.setattr(flow_triton, "CACHE_BYTES", 0)
    assert segment_length(n_iter, 1, 0) < n_iter
    assert same(results_of(fused, case), stored)
    for name, ours, wanted in zip(RESULTS, stored, results_of(reference, case), strict=True):
        assert relative(ours, wanted) < 1e-11, name


@pytest.mark.slow
def test_number_of_programs_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = spatial_case((2, 2, 3, 4), 1)
    many = results_of(fused, case)
    monkeypatch.setattr(flow_triton, "SCRATCH_BYTES", 0)  # one program for all planes
    assert same(results_of(fused, case), many)


def test_float32() -> None:
    case = spatial_case((1, 1, 5, 6), 3)
    single = results_of(fused, case.to(torch.float32))
    assert {t.dtype for t in single} == {torch.float32}
    for name, ours, wanted in zip(RESULTS, single, results_of(reference, case), strict=True):
        assert relative(ours, wanted) < 1e-4, name


@pytest.mark.slow
def test_gradcheck() -> None:
    leaves = [t.requires_grad_() for t in spatial_case((1, 1, 3, 4), 2, seed=2).tensors]
    assert torch.autograd.gradcheck(
        lambda *tensors: fused(list(tensors), 2), leaves, eps=1e-5, atol=1e-6, fast_mode=True
    )


@pytest.fixture(scope="module")
def every_gradient() -> list[Tensor]:
    return results_of(fused, spatial_case((1, 1, 3, 4), 2))[2:]


@pytest.mark.parametrize("learnt", [0, 10])
def test_each_gradient_alone(learnt: int, every_gradient: list[Tensor]) -> None:
    case = spatial_case((1, 1, 3, 4), 2)
    case.tensors[learnt].requires_grad_()
    flow = fused(case.tensors, 2)
    (alone,) = torch.autograd.grad(flow, case.tensors[learnt], case.cotangents)
    assert torch.equal(alone, every_gradient[learnt])


@pytest.fixture(scope="module")
def clean() -> list[Tensor]:
    return results_of(fused, spatial_case((1, 2, 6, 6), 2))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's, of inf - inf
def test_nan_stays_in_its_plane(bad: float, clean: list[Tensor]) -> None:
    case = spatial_case((1, 2, 6, 6), 2)
    case.tensors[0][0, 1, 2, 5] = bad
    ours, wanted = results_of(fused, case), results_of(reference, case)
    for k in range(4):
        assert torch.equal(ours[k][0, 0], clean[k][0, 0])
    for k in range(2):
        assert torch.equal(ours[k].isnan(), wanted[k].isnan())
    assert ours[0][0, 1].isnan().any() and not ours[0][0, 1].isnan().all()


@pytest.mark.parametrize("scalar", [8, 9, 10])
def test_a_nan_parameter_is_not_clamped_away(scalar: int) -> None:
    case = spatial_case((1, 1, 4, 4), 2)
    case.tensors[scalar].fill_(math.nan)
    for ours, wanted in zip(fused(case.tensors, 2), reference(case.tensors, 2), strict=True):
        assert torch.equal(ours.isnan(), wanted.isnan())
        assert ours.isnan().any()


@pytest.mark.parametrize(
    "dtype, value",
    [
        (torch.float32, None),
        (torch.float32, 0.0),
        (torch.float32, -255.0),
        (torch.float64, None),
    ],
)
def test_equal_and_constant_frames(dtype: torch.dtype, value: float | None) -> None:
    case = spatial_case((1, 1, 4, 5), 2).to(dtype)
    frame = case.tensors[0] if value is None else torch.full_like(case.tensors[0], value)
    case.tensors[:2] = [frame, frame]
    found = results_of(fused, case)
    assert max(float(f.abs().max()) for f in found[:2]) <= 2e-6
    assert all(r.isfinite().all() for r in found)


@pytest.mark.parametrize("shape, n_iter", [((0, 2, 4, 4), 3), ((2, 0, 4, 4), 3), ((1, 1, 4, 4), 0)])
def test_nothing_to_do(shape: tuple[int, int, int, int], n_iter: int) -> None:
    case = spatial_case(shape, n_iter)
    found = results_of(fused, case)
    assert [f.shape for f in found[:2]] == [shape, shape]
    assert [g.shape for g in found[2:]] == [t.shape for t in case.tensors]
    assert not any(r.any() for r in found)


@pytest.mark.slow
def test_layout_does_not_matter() -> None:
    case = spatial_case((1, 2, 3, 5), 2)
    turned = [t.transpose(2, 3).contiguous().transpose(2, 3) for t in case.tensors[:2]]
    cotangents = [c.contiguous(memory_format=torch.channels_last) for c in case.cotangents]
    moved = Case([*turned, *case.tensors[2:]], cotangents, 2)
    assert same(results_of(fused, moved), results_of(fused, case))


@pytest.mark.slow
def test_any_leading_dimensions() -> None:
    frame1, frame2, *parameters = spatial_case((4, 2, 3, 4), 2).tensors
    kernels, scalars = parameters[:6], [scalar.reshape(()) for scalar in parameters[6:]]
    flat = flow_cuda.op(frame1, frame2, kernels, scalars, 2)
    pairs = [frame.unflatten(0, (2, 2)) for frame in (frame1, frame2)]
    assert torch.equal(flow_cuda.op(*pairs, kernels, scalars, 2).flatten(0, 1), flat)


def test_second_derivative_is_refused() -> None:
    case = spatial_case((1, 1, 3, 3), 1)
    frame1 = case.tensors[0].requires_grad_()
    flow_x, _ = fused(case.tensors, 1)
    (gradient,) = torch.autograd.grad(flow_x.sum(), frame1, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.sum(), frame1)


def test_saved_tensors_do_not_grow_with_iterations() -> None:
    def saved_bytes(n_iter: int) -> int:
        sizes: list[int] = []

        def note(tensor: Tensor) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        leaves = [t.requires_grad_() for t in spatial_case((1, 1, 4, 4), n_iter).tensors]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            fused(leaves, n_iter)
        return sum(sizes)

    assert saved_bytes(1) == saved_bytes(6) > 0


def test_operator_is_registered_soundly() -> None:
    torch.library.opcheck(flow_cuda.op.forward, operator_inputs(spatial_case((1, 1, 2, 3), 1)))


def test_compiles_in_one_graph() -> None:
    case = spatial_case((1, 1, 3, 4), 1)
    compiled = torch.compile(lambda tensors: fused(tensors, 1), fullgraph=True, backend="aot_eager")
    assert same(results_of(lambda leaves, _: compiled(leaves), case), results_of(fused, case))


@pytest.mark.parametrize(
    "dtype", [torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
def test_half_precision_iterates_in_float32(dtype: torch.dtype) -> None:
    # the interpreter does not round to bfloat16 but cuts off
    cut_off = 2.0**-7 if dtype == torch.bfloat16 else 0
    half_precision_iterates_in_float32(dtype, (1, 1, 5, 6), 2, cut_off)
