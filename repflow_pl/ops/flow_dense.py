"""The dense flow of the authors' repository head: every channel's flow sees all channels.

The layer behind the released Kinetics model (github.com/piergiaj/representation-flow-cvpr19, commit
ac5c3ff) differs from the depthwise one in :mod:`repflow_pl.ops.flow` in two ways: its kernels mix
the channels, and both derivatives of the flow, like both parts of the divergence, are vertical.
It is here so that the released weights give the released results; new work wants the other one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from repflow_pl.ops.flow import iterate, with_all_gradients, with_released_borders
from repflow_pl.ops.flow_inputs import (
    FlowKernels,
    arithmetic,
    central_kernels,
    check,
    in_full_precision,
)


def dense_kernels(
    channels: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> FlowKernels:
    """The released initial values: the same taps between any two channels.

    Shapes: [output channel, input channel, taps]; all but image_x are vertical.
    """
    kernels = central_kernels(channels, dtype, device)
    return FlowKernels(*[kernel.repeat(channels, 1, 1) for kernel in kernels])


def dense_flow(
    frame1: Tensor,
    frame2: Tensor,
    kernels: FlowKernels,
    theta: Tensor,
    lam: Tensor,
    tau: Tensor,
    n_iter: int = 20,
) -> tuple[Tensor, Tensor]:
    """As :func:`repflow_pl.ops.representation_flow`, with kernels between all channels, see
    :func:`dense_kernels`.

    Its numbers are no displacements in pixels: they add up over channels. It runs in plain PyTorch
    on any device, in float64 for float64 frames and in float32 for all others.

    Shapes: frames [..., C, H, W] with H, W >= 2 -> (flow_x, flow_y), each of that shape.
    Errors: ValueError where shapes, dtypes or devices do not fit.
    """
    scalars = theta, lam, tau
    check(frame1, frame2, kernels, scalars, n_iter)
    *batch, channels = frame1.shape[:-2]
    for name, kernel, taps in zip(FlowKernels._fields, kernels, (3, 3, 2, 2, 2, 2), strict=True):
        if kernel.shape != (channels, channels, taps):
            raise ValueError(
                f"The kernel {name} must be [{channels}, {channels}, {taps}]; "
                f"it is {list(kernel.shape)}."
            )
    wanted = frame1.dtype
    dtype = arithmetic(wanted)
    inputs = (frame1, frame2, *kernels, *scalars)
    with in_full_precision(frame1.device):
        frame1, frame2 = (frame.to(dtype).flatten(0, -4) for frame in (frame1, frame2))
        exact = FlowKernels(*[kernel.to(dtype) for kernel in kernels])
        inner_x = F.conv2d(frame2, exact.image_x[:, :, None, :], padding=(0, 1))
        inner_y = F.conv2d(frame2, exact.image_y[:, :, :, None], padding=(1, 0))
        flow = iterate(
            *with_released_borders(inner_x, inner_y, frame1),
            frame2 - frame1,
            lambda u: (_difference(u, exact.flow_x), _difference(u, exact.flow_y)),
            lambda p_x, p_y: _divergence(p_x, exact.div_x) + _divergence(p_y, exact.div_y),
            [scalar.to(dtype).reshape(()) for scalar in scalars],
            n_iter,
        )
    flow_x, flow_y = (
        with_all_gradients(component, n_iter, *inputs).unflatten(0, batch).to(wanted)
        for component in flow
    )
    return flow_x, flow_y


def _difference(u: Tensor, kernel: Tensor) -> Tensor:
    """Vertical, with a last row of zeros."""
    return F.pad(F.conv2d(u, kernel[..., None]), (0, 0, 0, 1))


def _divergence(p: Tensor, kernel: Tensor) -> Tensor:
    """Vertical, with zeros outside; the last row of p never enters."""
    return F.conv2d(F.pad(p[..., :-1, :], (0, 0, 1, 1)), kernel[..., None])
