"""What must hold of the flow of any frames."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from repflow_pl.ops import central_kernels

from .flow_cases import RESULTS, Case, call, random_case, relative, results, rounding_tolerances

pytest.importorskip("hypothesis")
pytest.importorskip("numba")

from hypothesis import given, settings
from hypothesis import strategies as st

BACKENDS = ["eager", "cpu"]
quick = settings(deadline=None, max_examples=10)
some_case = st.builds(
    random_case,
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 12), st.integers(2, 12)),
    st.sampled_from([1, 5, 20]),
    st.integers(0, 99),
)


shapes = st.tuples(*[st.integers(1, 3)] * 2, st.integers(2, 19), st.integers(2, 19))


@pytest.mark.long
@settings(deadline=None, max_examples=20)
@given(shape=shapes, n_iter=st.sampled_from([0, 1, 2, 3, 7, 20, 100]), seed=st.integers(0, 99))
def test_fused_agrees_with_eager(shape: tuple[int, int, int, int], n_iter: int, seed: int) -> None:
    case = random_case(shape, n_iter, seed)
    eager, fused = results(case, "eager"), results(case, "cpu")
    # As for float32, but one rounding is 2^-53 instead of 2^-24; and every iteration rounds anew.
    allowed = (8 + n_iter) * 2.0**-29
    limits = [allowed * limit for limit in rounding_tolerances(case, samples=2)]
    for name, ours, wanted, limit in zip(RESULTS, fused, eager, limits, strict=True):
        assert relative(ours, wanted) < limit, name


def _with_frames(case: Case, frame1: Tensor, frame2: Tensor) -> Case:
    return case._replace(tensors=[frame1, frame2, *case.tensors[2:]])


def _as_released(frame: Tensor) -> Case:
    """Equal frames with the released kernels and scalars. With others the iteration may be unstable
    and let what is next to nothing grow, in float64 as in float32."""
    scalars = [torch.tensor([value], dtype=torch.float64) for value in (0.3, 0.15, 0.25)]
    kernels = central_kernels(frame.shape[1], dtype=torch.float64)
    return Case([frame, frame, *kernels, *scalars], [], 0)


@pytest.mark.parametrize("backend", BACKENDS)
@quick
@given(case=some_case)
def test_negated_frames_have_the_same_flow(backend: str, case: Case) -> None:
    """The released normalisation gives frames in [-255, 0]; their flow is that of [0, 255]."""
    frame1, frame2 = case.tensors[:2]
    flow = call(case.tensors, case.n_iter, backend)
    negated = call(_with_frames(case, -frame1, -frame2).tensors, case.n_iter, backend)
    for one, other in zip(flow, negated, strict=True):
        # exact but for the 1e-12 that is added to rho, whichever its sign
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@quick
@given(case=some_case, value=st.sampled_from([0.0, 1.0, -255.0, 1e-6]))
def test_constant_frames(backend: str, dtype: torch.dtype, case: Case, value: float) -> None:
    frame = torch.full_like(case.tensors[0], value)
    _, _, *gradients = results(_with_frames(case, frame, frame).to(dtype), backend)
    flow_x, flow_y = call(_as_released(frame).to(dtype).tensors, case.n_iter, backend)
    # equal frames: rho is the released code's 1e-12 alone, its step at most 0.5e-6 an iteration
    assert max(flow_x.abs().max(), flow_y.abs().max()) <= 1e-6 * case.n_iter
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
@quick
@given(case=some_case)
def test_equal_frames(backend: str, case: Case) -> None:
    frame = case.tensors[0]
    _, _, *gradients = results(_with_frames(case, frame, frame), backend)
    flow_x, flow_y = call(_as_released(frame).tensors, case.n_iter, backend)
    assert max(flow_x.abs().max(), flow_y.abs().max()) <= 1e-6 * case.n_iter
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
@quick
@given(case=some_case, seed=st.integers(100, 199))
def test_planes_do_not_see_each_other(backend: str, case: Case, seed: int) -> None:
    frame1, frame2 = case.tensors[:2]
    noise = random_case(tuple(frame1.shape), 0, seed).tensors  # type: ignore[arg-type]
    other1, other2 = noise[0].clone(), noise[1].clone()
    other1[0, 0], other2[0, 0] = frame1[0, 0], frame2[0, 0]
    here = call(case.tensors, case.n_iter, backend)
    there = call(_with_frames(case, other1, other2).tensors, case.n_iter, backend)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one[0, 0], other[0, 0])


@pytest.mark.parametrize("n_iter", [1, 2, 5, 30])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_stays_in_its_plane(n_iter: int, bad: float) -> None:
    """And it takes the same pixels in every backend: as far as n_iter steps reach, no farther."""
    case = random_case((2, 3, 9, 11), n_iter)
    clean = results(case, "cpu")
    dirty1 = case.tensors[0].clone()
    dirty1[1, 2, 3, 10] = bad
    dirty = _with_frames(case, dirty1, case.tensors[1])
    eager, fused = results(dirty, "eager"), results(dirty, "cpu")
    others = torch.ones(2, 3, dtype=torch.bool)
    others[1, 2] = False
    for k in range(4):  # both components of the flow, both frames' gradients
        assert torch.equal(fused[k][others], clean[k][others])
        assert eager[k][others].isfinite().all()
    for k in range(2):
        assert torch.equal(fused[k].isnan(), eager[k].isnan())
    if math.isnan(bad):
        assert fused[0][1, 2].isnan().any()
