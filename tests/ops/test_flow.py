"""Values and gradients of the flow op: against the released layer, differences, each other."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from repflow_pl.ops import FlowKernels, representation_flow, sobel_kernels
from repflow_pl.ops.flow import full_kernels

from .flow_cases import (
    RESULTS,
    call,
    golden_case,
    random_case,
    relative,
    results,
    rounding_tolerances,
)


@pytest.mark.parametrize("number", range(10))
def test_golden_float64(number: int, backend: str) -> None:
    case, expected = golden_case(number)
    for name, actual, wanted in zip(RESULTS, results(case, backend), expected, strict=True):
        assert relative(actual, wanted) < 1e-11, name


@functools.cache
def _golden_tolerances(number: int) -> list[float]:
    return rounding_tolerances(golden_case(number)[0])


@pytest.mark.parametrize("number", range(10))
def test_golden_float32(number: int, backend: str) -> None:
    case, expected = golden_case(number)
    actual = results(case.to(torch.float32), backend)
    limits = _golden_tolerances(number)
    for name, ours, wanted, limit in zip(RESULTS, actual, expected, limits, strict=True):
        assert relative(ours, wanted) < limit, name


@pytest.mark.parametrize("seed", [2, 3], ids=["three taps", "3x3"])
@pytest.mark.parametrize("n_iter", [1, 4])
def test_gradcheck(n_iter: int, seed: int, backend: str) -> None:
    case = random_case((2, 2, 4, 3), n_iter, seed)
    leaves = [t.requires_grad_() for t in case.tensors]
    # flow is of order 1 where frames span 255: a step of 1e-5 for both is far from any rounding
    assert torch.autograd.gradcheck(
        lambda *tensors: call(list(tensors), n_iter, backend), leaves, eps=1e-5, atol=1e-6
    )


shapes = st.tuples(*[st.integers(1, 3)] * 2, st.integers(2, 19), st.integers(2, 19))


@settings(deadline=None, max_examples=20)
@given(shape=shapes, n_iter=st.sampled_from([0, 1, 2, 3, 7, 20, 100]), seed=st.integers(0, 99))
def test_fused_agrees_with_eager(shape: tuple[int, int, int, int], n_iter: int, seed: int) -> None:
    pytest.importorskip("numba")
    case = random_case(shape, n_iter, seed)
    eager, fused = results(case, "eager"), results(case, "cpu")
    # As for float32, but one rounding is 2^-53 instead of 2^-24; and every iteration rounds anew.
    allowed = (8 + n_iter) * 2.0**-29
    limits = [allowed * limit for limit in rounding_tolerances(case, samples=2)]
    for name, ours, wanted, limit in zip(RESULTS, fused, eager, limits, strict=True):
        assert relative(ours, wanted) < limit, name


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 1, 2, 37), (1, 2, 41, 2), (1, 2, 45, 67)])
def test_fused_agrees_with_eager_at_odd_sizes(shape: tuple[int, int, int, int]) -> None:
    pytest.importorskip("numba")
    case = random_case(shape, 6)
    for name, ours, wanted in zip(
        RESULTS, results(case, "cpu"), results(case, "eager"), strict=True
    ):
        assert relative(ours, wanted) < 1e-10, name


def test_full_kernels_with_three_taps_are_the_three_taps(backend: str) -> None:
    case = random_case((2, 3, 6, 5), 4)
    kernels = FlowKernels(*case.tensors[2:8])
    full = [*case.tensors[:2], *full_kernels(kernels), *case.tensors[8:]]
    assert torch.equal(call(full, 4, backend)[0], call(case.tensors, 4, backend)[0])


def test_sobel_gradient_is_that_of_scipy(backend: str) -> None:
    """One iteration from rest, unclamped: u = -rho_c grad F2 / |grad F2|^2."""
    frame1, frame2 = random_case((1, 1, 9, 8), 1).tensors[:2]
    theta, lam, tau = (torch.tensor(v, dtype=torch.float64) for v in (1e9, 1.0, 0.25))
    kernels = sobel_kernels(1, dtype=torch.float64)
    flow_x, flow_y = representation_flow(frame1, frame2, kernels, theta, lam, tau, 1, backend)
    image = frame2[0, 0].numpy()
    grad_x, grad_y = (ndimage.sobel(image, axis, mode="constant") for axis in (1, 0))
    step = (frame1 - frame2)[0, 0].numpy() / (grad_x**2 + grad_y**2)
    inner = (slice(1, -1), slice(1, -1))  # the border follows frame 1
    np.testing.assert_allclose(flow_x[0, 0][inner], (step * grad_x)[inner], rtol=1e-9)
    np.testing.assert_allclose(flow_y[0, 0][inner], (step * grad_y)[inner], rtol=1e-9)


@pytest.mark.parametrize("learnt", range(11))
def test_each_gradient_alone(learnt: int, backend: str) -> None:
    """What a single input receives does not depend on what else needs a gradient.

    But for the order of a sum: compilers may unroll a loop differently where the frames need none.
    """
    case = random_case((2, 3, 6, 5), 4)
    everything = results(case, backend)[2:]
    tensors = [t.detach().clone() for t in case.tensors]
    tensors[learnt].requires_grad_()
    flow = call(tensors, case.n_iter, backend)
    (alone,) = torch.autograd.grad(flow, tensors[learnt], case.cotangents)
    torch.testing.assert_close(alone, everything[learnt], rtol=1e-12, atol=1e-12)
