"""Representation flow: the TV-L1 iteration of Alg. 1 on feature maps, differentiable throughout.

Piergiovanni and Ryoo, "Representation Flow for Action Recognition", CVPR 2019 (arXiv 1810.01455).
The eager backend in this file is the definition; every other backend is tested against it. Where
the paper is silent (borders, padding, 1e-12), the rule is that of the authors' released depthwise
layer (github.com/piergiaj/representation-flow-cvpr19, commit 787564a), and a comment says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from repflow_pl.ops import flow_cpu, flow_cuda
from repflow_pl.ops.flow_inputs import FlowKernels, arithmetic, check, check_kernels, full_kernels

#: Added to |grad F2|^2, to rho and under the square root (released code).
EPS = 1e-12


def representation_flow(
    frame1: Tensor,
    frame2: Tensor,
    kernels: FlowKernels,
    theta: Tensor,
    lam: Tensor,
    tau: Tensor,
    n_iter: int = 20,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Flow from ``frame1`` to ``frame2``, each channel on its own (Alg. 1).

    Args:
        frame1, frame2: [..., C, H, W] with H, W >= 2, floating point, of one shape, dtype and
            device; for instance [N, C, H, W].
            The initial theta, lam and tau (0.3, 0.15, 0.25) are meant for values that span 255.
        kernels: one kernel per channel; :func:`central_kernels` has the released initial values,
            :func:`sobel_kernels` those of the paper's text.
        theta, lam, tau: one element each ([1] or []), positive: tightness of the coupling,
            weight of the data term, step of the dual variable.
        n_iter: iterations, all with the same parameters; 0 gives zero flow.
        backend: "auto" takes the fastest backend that fits the tensors (:func:`chosen_backend`);
            a name of :func:`available_backends` forces one. Fused ones have first derivatives by
            reverse mode; a second one is an error that asks for "eager", which has them all.

    Returns:
        ``(flow_x, flow_y)``, each of the frames' shape and dtype: displacement in pixels per frame
        at the frames' own resolution, to the right and downwards.

    The iteration runs in float64 for float64 frames and in float32 for all others, under autocast
    too. A NaN stays in its own plane. Gradients reach the frames, the six kernels, theta,
    lam and tau; they are finite for constant and for equal frames.

    On the CPU, a UserWarning tells once in a process when Numba has to compile first, or is not
    there; ``warnings.filterwarnings("ignore", module="repflow_pl.ops")`` keeps it quiet.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, ``n_iter`` is negative, or the backend is
            unknown or cannot run here.
    """
    flow = joined_flow(frame1, frame2, kernels, theta, lam, tau, n_iter, backend)
    flow_x, flow_y = flow.chunk(2, dim=-3)
    return flow_x, flow_y


def joined_flow(
    frame1: Tensor,
    frame2: Tensor,
    kernels: FlowKernels,
    theta: Tensor,
    lam: Tensor,
    tau: Tensor,
    n_iter: int = 20,
    backend: str = "auto",
) -> Tensor:
    """:func:`representation_flow` as one tensor [..., 2 C, H, W], all x before all y.

    This is what a backend writes: nothing is copied for a convolution that takes both.
    """
    scalars = theta, lam, tau
    check(frame1, frame2, kernels, scalars, n_iter)
    check_kernels(kernels, frame1.shape[-3])
    chosen = _BACKENDS[_resolve(backend, frame1, frame2, *kernels, *scalars)]
    dtype = arithmetic(frame1.dtype)
    frames = (frame1, frame2) if chosen.reads_half else (frame1.to(dtype), frame2.to(dtype))
    return chosen.run(*frames, kernels, scalars, n_iter).to(frame1.dtype)


def available_backends(frame: Tensor) -> tuple[str, ...]:
    """The backends that can run on tensors like ``frame`` here, fastest first."""
    return tuple(name for name, backend in _BACKENDS.items() if backend.refusal(frame) is None)


def chosen_backend(frame: Tensor, *others: Tensor) -> str:
    """The backend that ``backend="auto"`` takes for tensors like ``frame`` and with these others.

    Under torch.export and torch.jit.trace this is "eager", so that the graph runs where this
    package is not, and for what :func:`is_transformed` tells, which only PyTorch's own operators
    can do.
    """
    taken_along = torch.compiler.is_exporting() or torch.jit.is_tracing()
    if taken_along or is_transformed(frame, *others):
        return "eager"
    return available_backends(frame)[0]


def is_transformed(*tensors: Tensor) -> bool:
    """Whether torch.func (vmap, grad, jvp ...) is at work, or a tensor has a forward derivative."""
    if torch._C._are_functorch_transforms_active():  # which torch.compile can follow
        return True
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def flow_flops(n_planes: int, height: int, width: int, n_iter: int) -> int:
    """Floating-point operations of the forward pass, counted from Alg. 1.

    A plane is one channel of one frame pair. Every +, -, *, /, square root, minimum and maximum
    counts as one; borders count as the interior does; adding 1e-12 and products of parameters are
    left out.

    Once a pixel: image gradient (2 x 5), rho_c (1), |grad F2|^2 (3).
    In each iteration: rho (4); -rho / |grad F2|^2 and its clamp (2 + 2); v (2 x 2);
    u = v + theta * div p (2 x 9: two taps twice, their sum, times theta, plus v);
    grad u (4 x 3); |grad u| (2 x 4); p (2 x (2 + 2 x 3)).
    """
    once = 2 * 5 + 1 + 3
    each_iteration = 4 + (2 + 2) + 2 * 2 + 2 * 9 + 4 * 3 + 2 * 4 + 2 * (2 + 2 * 3)
    return n_planes * height * width * (once + n_iter * each_iteration)


# --- the eager backend: Alg. 1 as one reads it ---------------------------------------------------


def _eager(
    frame1: Tensor, frame2: Tensor, kernels: FlowKernels, scalars: Sequence[Tensor], n_iter: int
) -> Tensor:
    kernels = full_kernels(FlowKernels(*[kernel.to(frame1.dtype) for kernel in kernels]))
    scalars = [scalar.to(frame1.dtype).reshape(()) for scalar in scalars]
    inner_x, inner_y = (_correlate(frame2, k) for k in (kernels.image_x, kernels.image_y))  # Eq. 8
    flow = iterate(
        *with_released_borders(inner_x, inner_y, frame1),
        frame2 - frame1,
        lambda u: forward_differences(u, kernels.flow_x, kernels.flow_y),
        lambda p_x, p_y: _divergence(p_x, p_y, kernels),
        scalars,
        n_iter,
    )
    return with_all_gradients(torch.cat(flow, dim=-3), n_iter, frame1, frame2, *kernels, *scalars)


def with_all_gradients(flow: Tensor, n_iter: int, *inputs: Tensor) -> Tensor:
    """The same flow, which has a gradient for every input: 0 for those that do not change it.

    Those are all without an iteration, and with one the flow's own kernels and tau, whose dual step
    no one sees. Distributed training waits for a gradient of every parameter.
    """
    if n_iter > 1:
        return flow
    always = torch.ones((), dtype=torch.bool, device=flow.device)
    return torch.where(always, flow, torch.stack([each.sum() for each in inputs]).sum())


def iterate(
    grad_x: Tensor,
    grad_y: Tensor,
    rho_c: Tensor,
    flow_gradient: Callable[[Tensor], tuple[Tensor, Tensor]],
    divergence: Callable[[Tensor, Tensor], Tensor],
    scalars: Sequence[Tensor],
    n_iter: int,
) -> tuple[Tensor, Tensor]:
    """The loop of Alg. 1, from the gradient of frame 2 and rho_c = frame 2 - frame 1."""
    theta, lam, tau = scalars
    eps = epsilon(rho_c)
    grad_sq = grad_x * grad_x + grad_y * grad_y + eps
    limit, rate = lam * theta, tau / theta

    def dual_step(p_x: Tensor, p_y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """p = (p + tau/theta grad u) / (1 + tau/theta |grad u|) for one component u of the flow."""
        d_x, d_y = flow_gradient(u)
        shrink = 1 + rate * torch.sqrt(d_x * d_x + d_y * d_y + eps)  # eps: finite gradient at 0
        return (p_x + rate * d_x) / shrink, (p_y + rate * d_y) / shrink

    u_y = torch.zeros_like(rho_c)  # not u_x's own: without an iteration both are given away
    u_x = p_xx = p_xy = p_yx = p_yy = torch.zeros_like(rho_c)  # p_yx: x-part of u_y's dual
    for _ in range(n_iter):
        rho = rho_c + grad_x * u_x + grad_y * u_y + eps
        # The three branches of v (Eq. 6) are one clamp of the step along grad F2. A pixel on the
        # border between two branches belongs to the middle one, as in the released code.
        step = torch.clamp(-rho / grad_sq, -limit, limit)
        u_x = u_x + step * grad_x + theta * divergence(p_xx, p_xy)
        u_y = u_y + step * grad_y + theta * divergence(p_yx, p_yy)
        p_xx, p_xy = dual_step(p_xx, p_xy, u_x)
        p_yx, p_yy = dual_step(p_yx, p_yy, u_y)
    return u_x, u_y


def epsilon(like: Tensor) -> Tensor:
    """EPS as [1]: torch.onnx takes a sum with a number so small away, and 0 / 0 is NaN."""
    return like.new_full((1,), EPS)


def with_released_borders(grad_x: Tensor, grad_y: Tensor, frame1: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients with half the difference of FRAME 1's two outermost pixels on the border.

    The released code pads frame 2 with zeros and then overwrites, along each gradient's own axis,
    what the padding touched.
    """
    left, right = frame1[..., 1:2] - frame1[..., :1], frame1[..., -1:] - frame1[..., -2:-1]
    top, bottom = (
        frame1[..., 1:2, :] - frame1[..., :1, :],
        frame1[..., -1:, :] - frame1[..., -2:-1, :],
    )
    return (
        torch.cat([0.5 * left, grad_x[..., 1:-1], 0.5 * right], dim=-1),
        torch.cat([0.5 * top, grad_y[..., 1:-1, :], 0.5 * bottom], dim=-2),
    )


def _correlate(frame: Tensor, kernel: Tensor) -> Tensor:
    """Each channel with its 3x3 kernel [C, 3, 3], zeros outside."""
    height, width = frame.shape[-2:]
    padded = F.pad(frame, (1, 1, 1, 1))
    total = torch.zeros_like(frame)
    for row in range(3):
        for column in range(3):
            tap = kernel[:, row, column, None, None]
            total = total + tap * padded[..., row : row + height, column : column + width]
    return total


def forward_differences(u: Tensor, kernel_x: Tensor, kernel_y: Tensor) -> tuple[Tensor, Tensor]:
    """The flow's gradient by kernels [C, 2]; zero in the last column (x) and the last row (y)."""
    a, b = taps(kernel_x)
    d_x = F.pad(a * u[..., :-1] + b * u[..., 1:], (0, 1))
    a, b = taps(kernel_y)
    d_y = F.pad(a * u[..., :-1, :] + b * u[..., 1:, :], (0, 0, 0, 1))
    return d_x, d_y


def _divergence(p_x: Tensor, p_y: Tensor, kernels: FlowKernels) -> Tensor:
    """Backward differences, with zeros outside; the last column (row) of p never enters."""
    a, b = taps(kernels.div_x)
    inner = p_x[..., :-1]
    d_x = a * F.pad(inner, (1, 0)) + b * F.pad(inner, (0, 1))
    a, b = taps(kernels.div_y)
    inner = p_y[..., :-1, :]
    d_y = a * F.pad(inner, (0, 0, 1, 0)) + b * F.pad(inner, (0, 0, 0, 1))
    return d_x + d_y


def taps(kernel: Tensor) -> tuple[Tensor, ...]:
    """[C, k] -> k tensors [C, 1, 1], one tap each, to be multiplied with planes."""
    return kernel[:, :, None, None].unbind(1)


# --- the choice of backend -----------------------------------------------------------------------


class _Backend(NamedTuple):
    run: Callable[..., Tensor]
    refusal: Callable[[Tensor], str | None]  # why it cannot run on such a frame; None where it can
    reads_half: bool  # frames of 16 bits as they are; it computes in float32 and writes 16 bits


_BACKENDS = {  # fastest first; eager, which runs everywhere, last
    "cuda": _Backend(flow_cuda.op, flow_cuda.refusal, True),
    "cpu": _Backend(flow_cpu.op, flow_cpu.refusal, False),
    "eager": _Backend(_eager, lambda frame: None, False),
}


BACKENDS = ("auto", *_BACKENDS)
"""What may be asked for."""


def _resolve(backend: str, frame: Tensor, *others: Tensor) -> str:
    if backend == "auto":
        chosen = chosen_backend(frame, *others)
        on_cpu = frame.device.type == "cpu"
        if chosen == "eager" and on_cpu and not torch.compiler.is_compiling():
            flow_cpu.warn_if_missing()
        return chosen
    if backend not in _BACKENDS:
        names = list(BACKENDS)
        close = difflib.get_close_matches(str(backend), names, n=2, cutoff=0.5)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(f"There is no flow backend {backend!r}; there are {names}.{hint}")
    reason = _BACKENDS[backend].refusal(frame)
    if backend != "eager" and is_transformed(frame, *others):
        reason = "it has no forward derivatives and no torch.func; 'auto' or 'eager' has them"
    if reason is not None:
        raise ValueError(f"The flow backend {backend!r} cannot run here: {reason}.")
    return backend
