"""The flow op as a custom operator of torch with a gradient, made of a backend's two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef

Flow = tuple[Tensor, Tensor]
Gradients = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class FlowOp:
    """The flow of two frames [N, C, H, W], and its gradient, as operators that torch can trace.

    Both take the frames, the taps [C, 26] (the two image kernels of 3 x 3, then the four of 2), the
    scalars [3] (theta, lambda, tau) and n_iter. Gradients come for the frames and the image kernels
    ``with_frames`` (else anything may stand there), and for the other taps and the scalars
    ``with_sums`` (likewise). Differentiable once, by reverse mode.
    """

    forward: CustomOpDef
    backward: CustomOpDef

    def __call__(
        self,
        frame1: Tensor,
        frame2: Tensor,
        kernels: Sequence[Tensor],
        theta: Tensor,
        lam: Tensor,
        tau: Tensor,
        n_iter: int,
    ) -> Flow:
        """As ``representation_flow`` of flow.py, for tensors of one dtype, float32 or float64.

        The image kernels are [C, 3, 3].
        """
        taps = torch.cat([kernel.flatten(1) for kernel in kernels], dim=1)
        scalars = torch.stack([theta, lam, tau])
        learns_image = any(kernel.requires_grad for kernel in kernels[:2])
        flow: Flow = self.forward(frame1, frame2, taps, scalars, n_iter, learns_image)
        return flow


def register(
    device: str, forward: Callable[..., Flow], backward: Callable[..., Gradients]
) -> FlowOp:
    """Give ``repflow_pl::flow_<device>`` its kernels, shapes and gradient; once in a process.

    ``forward(frame1, frame2, taps, scalars, n_iter, learns_image)``, whose last argument is for the
    gradient alone, and ``backward(cot_x, cot_y, frame1, frame2, taps, scalars, n_iter, with_frames,
    with_sums)``, annotated, from which torch reads their schemas.
    """
    name = f"repflow_pl::flow_{device}"
    flow = torch.library.custom_op(name, forward, mutates_args=(), device_types=device)
    gradient = torch.library.custom_op(
        f"{name}_backward", backward, mutates_args=(), device_types=device
    )

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Flow) -> None:
        *tensors, ctx.n_iter, ctx.learns_image = inputs
        ctx.save_for_backward(*tensors)

    def backpropagate(ctx: Any, cot_x: Tensor, cot_y: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[:4]
        with_frames, with_sums = any(needed[:2]) or ctx.learns_image, any(needed[2:])
        gradients = gradient(cot_x, cot_y, *ctx.saved_tensors, ctx.n_iter, with_frames, with_sums)
        wanted = (g if needs else None for g, needs in zip(gradients, needed, strict=True))
        return (*wanted, None, None)

    flow.register_fake(_shapes)
    gradient.register_fake(_gradient_shapes)
    flow.register_autograd(backpropagate, setup_context=setup_context)
    return FlowOp(flow, gradient)


def _shapes(
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    learns_image: bool,
) -> Flow:
    return frame1.new_empty(frame1.shape), frame1.new_empty(frame1.shape)


def _gradient_shapes(
    cot_x: Tensor,
    cot_y: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_frames: bool,
    with_sums: bool,
) -> Gradients:
    return (
        frame1.new_empty(frame1.shape),
        frame1.new_empty(frame1.shape),
        taps.new_empty(taps.shape),
        scalars.new_empty(scalars.shape),
    )
