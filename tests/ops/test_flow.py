"""Values and gradients of the flow op: against the released layer, differences, each other."""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from repflow_pl.ops import FlowKernels, central_kernels, representation_flow, sobel_kernels
from repflow_pl.ops.flow_inputs import full_kernels

from .flow_cases import (
    RESULTS,
    call,
    golden_case,
    random_case,
    relative,
    results,
    rounding_tolerances,
)


@pytest.mark.long
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


def test_sobel_gradient_is_that_of_scipy(backend: str, ndimage: ModuleType) -> None:
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


@pytest.mark.parametrize("needed", [*((k,) for k in range(11)), (3, 9), (4, 6), (8, 9, 10), (0, 8)])
def test_a_gradient_does_not_depend_on_which_others_are_needed(
    needed: tuple[int, ...], backend: str
) -> None:
    """What an input receives does not depend on what else needs a gradient.

    But for the order of a sum: compilers may unroll a loop differently where the frames need none.
    """
    case = random_case((2, 3, 9, 17), 5, seed=1)
    _, _, *every = results(case, backend)
    leaves = [t.detach().clone().requires_grad_(i in needed) for i, t in enumerate(case.tensors)]
    flow = call(leaves, case.n_iter, backend)
    found = torch.autograd.grad(flow, [leaves[i] for i in needed], case.cotangents)
    for i, gradient in zip(needed, found, strict=True):
        torch.testing.assert_close(gradient, every[i], rtol=1e-12, atol=1e-12)


def test_constant_frames_have_exactly_zero_flow_with_released_kernels(backend: str) -> None:
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
