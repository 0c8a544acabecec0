"""What must hold of the flow of any frames."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from .flow_cases import Case, call, random_case, results

BACKENDS = ["eager", "cpu"]
quick = settings(deadline=None, max_examples=10)
some_case = st.builds(
    random_case,
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 12), st.integers(2, 12)),
    st.sampled_from([1, 5, 20]),
    st.integers(0, 99),
)


@pytest.fixture(autouse=True)
def _needs_numba() -> None:
    pytest.importorskip("numba")


def _with_frames(case: Case, frame1: Tensor, frame2: Tensor) -> Case:
    return case._replace(tensors=[frame1, frame2, *case.tensors[2:]])


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
    flow_x, flow_y, *gradients = results(_with_frames(case, frame, frame).to(dtype), backend)
    # equal frames: rho is the released code's 1e-12 alone, its step at most 0.5e-6 an iteration
    assert max(flow_x.abs().max(), flow_y.abs().max()) <= 1e-6 * case.n_iter
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
@quick
@given(case=some_case)
def test_equal_frames(backend: str, case: Case) -> None:
    frame = case.tensors[0]
    flow_x, flow_y, *gradients = results(_with_frames(case, frame, frame), backend)
    assert max(flow_x.abs().max(), flow_y.abs().max()) <= 1e-6 * case.n_iter
    assert all(g.isfinite().all() for g in gradients)


def test_constant_frames_have_exactly_zero_flow_with_released_kernels(backend: str) -> None:
    from repflow_pl.ops import central_kernels, representation_flow

    frame = torch.full((1, 2, 8, 8), 42.0)
    scalars = [torch.tensor(v) for v in (0.3, 0.15, 0.25)]
    flow = representation_flow(frame, frame, central_kernels(2), *scalars, 20, backend)
    assert not flow[0].any() and not flow[1].any()


def _texture(dx: float, dy: float, seed: int) -> Tensor:
    """[1, 1, 48, 48] over 0..255: eight waves of 12 to 24 pixels, moved by (dx, dy) pixels."""
    make = torch.Generator().manual_seed(seed)
    axis = torch.arange(48, dtype=torch.float64)
    y, x = torch.meshgrid(axis - dy, axis - dx, indexing="ij")
    total = torch.zeros_like(x)
    for _ in range(8):
        angle, phase, wave = torch.rand(3, generator=make, dtype=torch.float64)
        across = torch.cos(2 * math.pi * angle) * x + torch.sin(2 * math.pi * angle) * y
        total += torch.sin(2 * math.pi * (across / (12 + 12 * wave) + phase))
    return (127.5 + 127.5 / 8 * total)[None, None]


@pytest.mark.parametrize("dx, dy", [(0.5, 0.0), (0.0, -0.5), (1.0, 0.0), (0.4, 0.3)])
@pytest.mark.parametrize("seed", range(3))
def test_translated_texture(backend: str, dx: float, dy: float, seed: int) -> None:
    from repflow_pl.ops import central_kernels, representation_flow

    scalars = [torch.tensor([v], dtype=torch.float64) for v in (0.3, 0.15, 0.25)]
    kernels = central_kernels(1, dtype=torch.float64)
    errors = []
    for n_iter in (1, 5, 20, 100):
        flow = representation_flow(
            _texture(0, 0, seed), _texture(dx, dy, seed), kernels, *scalars, n_iter, backend
        )
        flow_x, flow_y = (f[..., 6:-6, 6:-6] for f in flow)
        errors.append(float(((flow_x - dx) ** 2 + (flow_y - dy) ** 2).mean().sqrt()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.15 * math.hypot(dx, dy)
    assert float(flow_x.mean()) == pytest.approx(dx, abs=0.05)
    assert float(flow_y.mean()) == pytest.approx(dy, abs=0.05)


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
