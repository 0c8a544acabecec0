"""Alg. 1 with image kernels [C, 3, 3], written apart from the package: conv2d and autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from repflow_pl.ops import FlowKernels, flow_cuda

from .flow_cases import Case, golden_case, random_case


def reference(tensors: list[Tensor], n_iter: int) -> tuple[Tensor, Tensor]:
    """Flow [N, C, H, W] from two frames, six kernels and theta, lam, tau."""
    frame1, frame2, image_x, image_y, flow_x, flow_y, div_x, div_y, theta, lam, tau = tensors
    channels = frame1.shape[1]

    def filtered(planes: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(planes, kernel, groups=channels)

    grad_x = filtered(F.pad(frame2, (1, 1, 1, 1)), image_x[:, None]).clone()
    grad_y = filtered(F.pad(frame2, (1, 1, 1, 1)), image_y[:, None]).clone()
    grad_x[..., 0] = (frame1[..., 1] - frame1[..., 0]) / 2
    grad_x[..., -1] = (frame1[..., -1] - frame1[..., -2]) / 2
    grad_y[..., 0, :] = (frame1[..., 1, :] - frame1[..., 0, :]) / 2
    grad_y[..., -1, :] = (frame1[..., -1, :] - frame1[..., -2, :]) / 2
    square = grad_x**2 + grad_y**2 + 1e-12

    def differences(u: Tensor) -> tuple[Tensor, Tensor]:
        d_x = F.pad(filtered(u, flow_x[:, None, None, :]), (0, 1))
        return d_x, F.pad(filtered(u, flow_y[:, None, :, None]), (0, 0, 0, 1))

    def divergence(p: tuple[Tensor, Tensor]) -> Tensor:
        d_x = filtered(F.pad(p[0][..., :-1], (1, 1)), div_x[:, None, None, :])
        return d_x + filtered(F.pad(p[1][..., :-1, :], (0, 0, 1, 1)), div_y[:, None, :, None])

    u = [torch.zeros_like(frame1)] * 2
    p = [(u[0], u[0])] * 2
    for _ in range(n_iter):
        rho = frame2 - frame1 + grad_x * u[0] + grad_y * u[1] + 1e-12
        step = torch.clamp(-rho / square, -lam * theta, lam * theta)
        u = [
            u[c] + step * gradient + theta * divergence(p[c])
            for c, gradient in enumerate((grad_x, grad_y))
        ]
        for c in range(2):
            d_x, d_y = differences(u[c])
            norm = torch.sqrt(d_x**2 + d_y**2 + 1e-12)
            p[c] = tuple(
                (part + tau / theta * d) / (1 + tau / theta * norm)
                for part, d in zip(p[c], (d_x, d_y), strict=True)
            )  # type: ignore[assignment]
    return u[0], u[1]


def fused(tensors: list[Tensor], n_iter: int) -> tuple[Tensor, Tensor]:
    """As :func:`reference`, by the CUDA backend."""
    frame1, frame2, *parameters = tensors
    scalars = [scalar.reshape(()) for scalar in parameters[6:]]
    flow = flow_cuda.op(frame1, frame2, FlowKernels(*parameters[:6]), scalars, n_iter)
    flow_x, flow_y = flow.chunk(2, dim=1)
    return flow_x, flow_y


def results_of(
    run: Callable[[list[Tensor], int], tuple[Tensor, Tensor]], case: Case, device: str = "cpu"
) -> list[Tensor]:
    """Flow and all gradients, in the order of RESULTS."""
    leaves = [t.detach().to(device, copy=True).requires_grad_() for t in case.tensors]
    flow = run(leaves, case.n_iter)
    cotangents = [c.to(device) for c in case.cotangents]
    gradients = torch.autograd.grad(
        flow, leaves, cotangents, allow_unused=True, materialize_grads=True
    )
    return [f.detach() for f in flow] + list(gradients)


def spatial_case(shape: tuple[int, int, int, int], n_iter: int, seed: int = 0) -> Case:
    """As ``random_case``, with image kernels [C, 3, 3] all of whose weights are normal."""
    case = random_case(shape, n_iter, seed)
    make = torch.Generator().manual_seed(seed + 1000)
    for k in (2, 3):
        kernel = torch.randn(shape[1], 3, 3, generator=make, dtype=torch.float64)
        case.tensors[k] = 0.3 * kernel
    return case


def spatial_golden_case(number: int) -> tuple[Case, list[Tensor]]:
    """As ``golden_case``; the three taps are the middle row and the middle column of [C, 3, 3]."""
    case, expected = golden_case(number)
    for k in (2, 3):
        if case.tensors[k].ndim == 2:
            padding = (0, 0, 1, 1) if k == 2 else (1, 1)
            taps = case.tensors[k]
            case.tensors[k] = F.pad(taps[:, None, :] if k == 2 else taps[:, :, None], padding)
    return case, expected


def half_precision_iterates_in_float32(
    dtype: torch.dtype,
    shape: tuple[int, int, int, int],
    n_iter: int,
    rounding: float = 0,
    device: str = "cpu",
) -> None:
    """And reads and writes frames of 16 bits, whose rounded results are those of float32."""
    case = spatial_case(shape, n_iter).to(torch.float32)
    case.tensors[:2] = [frame.to(dtype) for frame in case.tensors[:2]]
    case.cotangents[:] = [cotangent.to(dtype) for cotangent in case.cotangents]
    single_case = case.to(torch.float32)
    ours, wanted = (results_of(fused, each, device) for each in (case, single_case))
    assert [result.dtype for result in ours] == 4 * [dtype] + 9 * [torch.float32]
    for half, single in zip(ours, wanted, strict=True):
        torch.testing.assert_close(half, single.to(half.dtype), rtol=rounding, atol=0)
