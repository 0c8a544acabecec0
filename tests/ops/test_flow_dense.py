"""The dense flow against a formulation of its own, its borders, its errors.

The released layer around it is compared in tests/layers/test_flow_golden.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from repflow_pl.ops import (
    FlowKernels,
    dense_flow,
    dense_kernels,
    representation_flow,
)


def _case(shape: tuple[int, int, int, int]) -> tuple[Tensor, Tensor, FlowKernels, list[Tensor]]:
    make = torch.Generator().manual_seed(0)
    frames = [255 * torch.rand(shape, generator=make, dtype=torch.float64) for _ in range(2)]
    kernels = [
        k + 0.1 * torch.randn(k.shape, generator=make, dtype=torch.float64)
        for k in dense_kernels(shape[1], dtype=torch.float64)
    ]
    scalars = [torch.tensor([v], dtype=torch.float64) for v in (0.3, 0.15, 0.25)]
    return frames[0], frames[1], FlowKernels(*kernels), scalars


Array = NDArray[np.float64]


def _mix(kernel: Array, planes: Array, back: int) -> Array:
    """Taps along the rows of [C, H, W], over all channels; tap t sees the row t - back further."""
    channels, height, _ = planes.shape
    out = np.zeros_like(planes)
    for o in range(channels):
        for i in range(channels):
            for t in range(kernel.shape[-1]):
                for y in range(height):
                    if 0 <= y + t - back < height:
                        out[o, y] += kernel[o, i, t] * planes[i, y + t - back]
    return out


def _by_loops(frame1: Array, frame2: Array, k: list[Array], scalars: list[float], n: int) -> Array:
    """Alg. 1 on one frame pair [C, H, W], pixel row by pixel row and with the three branches."""
    theta, lam, tau = scalars
    gx = _mix(k[0], frame2.transpose(0, 2, 1), 1).transpose(0, 2, 1)
    gy = _mix(k[1], frame2, 1)
    gx[:, :, 0] = (frame1[:, :, 1] - frame1[:, :, 0]) / 2
    gx[:, :, -1] = (frame1[:, :, -1] - frame1[:, :, -2]) / 2
    gy[:, 0] = (frame1[:, 1] - frame1[:, 0]) / 2
    gy[:, -1] = (frame1[:, -1] - frame1[:, -2]) / 2
    square = gx**2 + gy**2 + 1e-12
    u, p = np.zeros((2, *frame1.shape)), np.zeros((2, 2, *frame1.shape))
    for _ in range(n):
        rho = frame2 - frame1 + gx * u[0] + gy * u[1] + 1e-12
        below, above = rho < -lam * theta * square, rho > lam * theta * square
        step = np.where(below, lam * theta, np.where(above, -lam * theta, -rho / square))
        for c, g in ((0, gx), (1, gy)):
            inner = p[c].copy()
            inner[:, :, -1] = 0  # its last row never enters
            divergence = _mix(k[4], inner[0], 1) + _mix(k[5], inner[1], 1)
            u[c] = u[c] + step * g + theta * divergence
            d = np.stack([_mix(k[2], u[c], 0), _mix(k[3], u[c], 0)])
            d[:, :, -1] = 0
            p[c] = (p[c] + tau / theta * d) / (1 + tau / theta * np.sqrt((d**2).sum(0) + 1e-12))
    return u


def test_agrees_with_loops() -> None:
    frame1, frame2, kernels, scalars = _case((2, 3, 5, 4))
    flow = dense_flow(frame1, frame2, kernels, *scalars, 4)
    for n in range(2):
        expected = _by_loops(
            frame1[n].numpy(),
            frame2[n].numpy(),
            [k.numpy() for k in kernels],
            [float(s) for s in scalars],
            4,
        )
        for c in range(2):
            np.testing.assert_allclose(flow[c][n].numpy(), expected[c], rtol=1e-9)


def test_on_one_channel_only_the_vertical_x_part_differs() -> None:
    """One iteration uses no derivative of the flow: there both layers are one."""
    frame1, frame2, kernels, scalars = _case((1, 1, 6, 5))
    own = FlowKernels(*[k[0] for k in kernels])
    one = dense_flow(frame1, frame2, kernels, *scalars, 1)
    other = representation_flow(frame1, frame2, own, *scalars, 1, "eager")
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_iterates_in_float32_and_ignores_autocast(dtype: torch.dtype) -> None:
    frame1, frame2, kernels, scalars = _case((1, 2, 6, 5))
    arguments = (frame1.to(dtype), frame2.to(dtype), kernels, *scalars, 3)
    plain = dense_flow(*arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = dense_flow(*arguments)
    assert plain[0].dtype == dtype
    assert torch.equal(plain[0], under[0]) and torch.equal(plain[1], under[1])


def test_a_wrong_kernel_is_named() -> None:
    frame1, frame2, kernels, scalars = _case((1, 2, 6, 5))
    wrong = kernels._replace(div_x=kernels.div_x[:1])
    with pytest.raises(ValueError, match=r"div_x must be \[2, 2, 2\]; it is \[1, 2, 2\]"):
        dense_flow(frame1, frame2, wrong, *scalars, 3)


def test_scalars_and_devices_are_checked() -> None:
    frame1, frame2, kernels, (theta, lam, tau) = _case((1, 2, 6, 5))
    with pytest.raises(ValueError, match=r"tau must have one element; it is \[2\]"):
        dense_flow(frame1, frame2, kernels, theta, lam, torch.cat([tau, tau]), 3)
    elsewhere = kernels._replace(div_y=kernels.div_y.to("meta"))
    with pytest.raises(ValueError, match="must be on one device; they are on cpu and meta"):
        dense_flow(frame1, frame2, elsewhere, theta, lam, tau, 3)
    with pytest.raises(ValueError, match="must be on one device; they are on cpu and meta"):
        dense_flow(frame1, frame2.to("meta"), kernels, theta, lam, tau, 3)


def test_without_an_iteration_the_components_are_tensors_of_their_own() -> None:
    frame1, frame2, kernels, scalars = _case((1, 2, 6, 5))
    flow_x, flow_y = dense_flow(frame1, frame2, kernels, *scalars, 0)
    flow_x += 1
    assert not flow_y.any()


def test_runs_where_there_is_no_autocast() -> None:
    with torch.device("meta"):
        frames, scalar = torch.empty(2, 3, 5, 6), torch.empty(1)
        flow_x, flow_y = dense_flow(frames, frames, dense_kernels(3), scalar, scalar, scalar, 2)
    assert flow_x.is_meta and flow_x.shape == flow_y.shape == frames.shape
