"""What the flow is computed of: its kernels, with their initial values, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class FlowKernels(NamedTuple):
    """The six kernels of Alg. 1, one per channel, all as cross-correlations.

    ``[a, b, c]`` of an image kernel weighs the pixels before, at and after the output's, along its
    own axis; a full ``[C, 3, 3]`` weighs its neighbourhood, row by row. ``[a, b]`` of a flow kernel
    weighs the pixels at and after the output's, of a divergence kernel those before it and at it.
    """

    image_x: Tensor  # [C, 3] or [C, 3, 3], horizontal derivative of frame 2
    image_y: Tensor  # [C, 3] or [C, 3, 3], vertical
    flow_x: Tensor  # [C, 2], horizontal derivative of the flow
    flow_y: Tensor  # [C, 2], vertical
    div_x: Tensor  # [C, 2], horizontal part of the divergence of p
    div_y: Tensor  # [C, 2], vertical


def central_kernels(
    channels: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> FlowKernels:
    """The released initial values: central image differences, forward flow differences.

    Every field owns its memory, so each may become a parameter.
    """

    central = torch.tensor([-0.5, 0.0, 0.5], dtype=dtype, device=device)
    forward = torch.tensor([-1.0, 1.0], dtype=dtype, device=device)
    return FlowKernels(
        *[central.repeat(channels, 1) for _ in range(2)],
        *[forward.repeat(channels, 1) for _ in range(4)],
    )


def sobel_kernels(
    channels: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> FlowKernels:
    """The initial values of the paper's text: Sobel image gradients (Eq. 8), not divided by 8.

    They give 8 times the derivative, and so, where the data term is not clamped, flow in eighths
    of a pixel. All else is as in :func:`central_kernels`.
    """
    across = torch.tensor([-1.0, 0.0, 1.0], dtype=dtype, device=device)
    along = torch.tensor([1.0, 2.0, 1.0], dtype=dtype, device=device)
    sobel = torch.outer(along, across)
    return central_kernels(channels, dtype, device)._replace(
        image_x=sobel.repeat(channels, 1, 1), image_y=sobel.T.repeat(channels, 1, 1)
    )


def full_kernels(kernels: FlowKernels) -> FlowKernels:
    """The same kernels with image kernels [C, 3, 3], which is what the backends take."""
    image_x, image_y = kernels.image_x, kernels.image_y
    if image_x.ndim == 2:
        image_x = F.pad(image_x[:, None, :], (0, 0, 1, 1))
    if image_y.ndim == 2:
        image_y = F.pad(image_y[:, :, None], (1, 1))
    return kernels._replace(image_x=image_x, image_y=image_y)


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """What the iteration runs in for frames of this dtype."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def in_full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off, for what its rounding would spoil; devices without autocast have nothing on."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def check(
    frame1: Tensor, frame2: Tensor, kernels: FlowKernels, scalars: Sequence[Tensor], n_iter: int
) -> None:
    """Errors: ValueError, one sentence, for what no flow can be computed of; the kernels' shapes
    are for :func:`check_kernels`."""
    if frame1.ndim < 4 or frame1.shape != frame2.shape:
        raise ValueError(
            "Both frames must be [N, C, H, W] of one shape; they are "
            f"{list(frame1.shape)} and {list(frame2.shape)}."
        )
    height, width = frame1.shape[-2:]
    if height < 2 or width < 2:
        raise ValueError(
            "Frames must be at least 2 pixels high and wide to have a gradient; they are "
            f"{height} x {width}."
        )
    if frame1.dtype != frame2.dtype or not frame1.is_floating_point():
        raise ValueError(
            "Both frames must have one floating-point dtype; they are "
            f"{frame1.dtype} and {frame2.dtype}."
        )
    if n_iter < 0:
        raise ValueError(f"n_iter must be 0 or more; it is {n_iter}.")
    for name, scalar in zip(("theta", "lam", "tau"), scalars, strict=True):
        if not isinstance(scalar, Tensor):
            raise ValueError(f"{name} must be a tensor: give torch.tensor({scalar!r}).")
        if scalar.numel() != 1:
            raise ValueError(f"{name} must have one element; it is {list(scalar.shape)}.")
    for tensor in (frame2, *kernels, *scalars):
        if tensor.device != frame1.device:
            raise ValueError(
                "Frames, kernels and scalars must be on one device; they are on "
                f"{frame1.device} and {tensor.device}."
            )


def check_kernels(kernels: FlowKernels, channels: int) -> None:
    """Errors: ValueError, one sentence, where there is not one kernel for each channel."""
    for name, kernel in zip(FlowKernels._fields, kernels, strict=True):
        shapes = [(channels, 3), (channels, 3, 3)] if "image" in name else [(channels, 2)]
        if tuple(kernel.shape) not in shapes:
            raise ValueError(
                f"The kernel {name} must be {' or '.join(str([*shape]) for shape in shapes)}, one "
                f"for each channel of the frames; it is {list(kernel.shape)}."
            )
