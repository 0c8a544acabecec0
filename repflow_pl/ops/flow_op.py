"""The flow op as a custom operator of torch with a gradient, made of a backend's two functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.library import CustomOpDef

from repflow_pl.ops.flow_inputs import FlowKernels, arithmetic, full_kernels

Gradients = tuple[Tensor, Tensor, Tensor]

_PARAMETERS = (*FlowKernels._fields, "theta", "lam", "tau")
_FRAMES = "Tensor frame1, Tensor frame2"
FORWARD = (
    f"({_FRAMES}, {', '.join(f'Tensor {name}' for name in _PARAMETERS)}, SymInt n_iter)"
    " -> (Tensor, Tensor, Tensor)"
)
BACKWARD = (
    f"({_FRAMES}, Tensor taps, Tensor scalars, SymInt n_iter, Tensor cotangent, "
    "bool with_frames, bool with_sums) -> (Tensor, Tensor, Tensor)"
)


@dataclass(frozen=True)
class FlowOp:
    """The flow of two frames [..., C, H, W], and its gradient, as operators that torch can trace.

    ``forward`` gives the flow, [..., 2 C, H, W], all x before all y, and the parameters as
    ``backward`` takes them: one tensor of taps [C, 26], in the order of ``FlowKernels`` and with
    image kernels of 3 x 3, and one of theta, lambda and tau [3]. Autograd would else record and
    undo each step of packing them. Gradients are those of the frames ``with_frames`` and the sums
    of :func:`empty_sums` ``with_sums``, of the image kernels with both; elsewhere anything may
    stand. Differentiable once, by reverse mode; RuntimeError at a second derivative.
    """

    forward: CustomOpDef
    backward: CustomOpDef

    def __call__(
        self,
        frame1: Tensor,
        frame2: Tensor,
        kernels: FlowKernels,
        scalars: Sequence[Tensor],
        n_iter: int,
    ) -> Tensor:
        """As ``joined_flow`` of flow.py; frames of 16 bits for a backend that reads them."""
        flow: Tensor = self.forward(frame1, frame2, *kernels, *scalars, n_iter)[0]
        return flow


def register(
    device: str, forward: Callable[..., Tensor], backward: Callable[..., Gradients]
) -> FlowOp:
    """Give ``repflow_pl::flow_<device>`` its kernels, shapes and gradient; once in a process.

    ``backward`` takes the arguments of BACKWARD, in that order, and ``forward`` the first five.
    """

    def operator(name: str, function: Callable[..., Any], schema: str) -> CustomOpDef:
        return torch.library.custom_op(
            name, function, mutates_args=(), device_types=device, schema=schema
        )

    flow = operator(f"repflow_pl::flow_{device}", packing(forward), FORWARD)
    gradient = operator(f"repflow_pl::flow_{device}_backward", backward, BACKWARD)

    def refuse(ctx: Any, *cotangents: Tensor) -> NoReturn:
        raise RuntimeError(
            f"The fused flow backend {device!r} has no second derivative: give backend='eager'."
        )

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        frame1, frame2, *parameters, ctx.n_iter = inputs
        ctx.parameters = [(each.shape, each.dtype) for each in parameters]
        ctx.save_for_backward(frame1, frame2, *output[1:])
        ctx.set_materialize_grads(False)

    def backpropagate(ctx: Any, cotangent: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        *needed, _ = ctx.needs_input_grad
        if cotangent is None:
            return (None,) * len(ctx.needs_input_grad)
        with_frames, with_sums = any(needed[:4]), any(needed[2:])
        grad1, grad2, sums = gradient(
            *ctx.saved_tensors, ctx.n_iter, cotangent, with_frames, with_sums
        )
        gradients = grad1, grad2, *_unpacked(sums, arithmetic(grad1.dtype), ctx.parameters)
        wanted = (g if needs else None for g, needs in zip(gradients, needed, strict=True))
        return (*wanted, None)

    flow.register_fake(packing(empty_flow))
    gradient.register_fake(_gradient_shapes)
    flow.register_autograd(backpropagate, setup_context=setup_context)
    gradient.register_autograd(refuse)
    return FlowOp(flow, gradient)


def packing(forward: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """What FORWARD asks for, from a function of packed parameters."""

    def run(frame1: Tensor, frame2: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        *parameters, n_iter = others
        kernels, scalars = full_kernels(FlowKernels(*parameters[:-3])), parameters[-3:]
        taps = torch.cat([kernel.flatten(1) for kernel in kernels], dim=1)
        joined = torch.cat([scalar.reshape(1) for scalar in scalars])
        dtype = arithmetic(frame1.dtype)
        packed = taps.to(dtype), joined.to(dtype)
        return forward(frame1, frame2, *packed, n_iter), *packed

    return run


def _unpacked(
    sums: Tensor, dtype: torch.dtype, parameters: Sequence[tuple[torch.Size, torch.dtype]]
) -> list[Tensor]:
    """The parameters' gradients, of their shapes and dtypes, from the sums of `empty_sums`.

    `dtype`: of the arithmetic, and as a rule of all parameters: one conversion does for them.
    """
    of_scalars = sums[:, 26:].sum(0)
    of_x, of_y, *of_taps = sums[:, :26].to(dtype).split([9, 9, 2, 2, 2, 2], dim=1)
    image_x, image_y = (len(shape) for shape, _ in parameters[:2])
    gradients = (
        of_x if image_x == 3 else of_x[:, 3:6],  # the row in the middle of the 3 x 3
        of_y if image_y == 3 else of_y[:, 1::3],  # the column
        *of_taps,
        *of_scalars.to(dtype),
    )
    return [
        gradient.reshape(shape).to(dtype)
        for gradient, (shape, dtype) in zip(gradients, parameters, strict=True)
    ]


def segment_length(n_iter: int, state_bytes: int, kept_bytes: int) -> int:
    """Iterations between two stored states in a backward: all, where so many bytes may be kept."""
    if (n_iter + 1) * state_bytes <= kept_bytes:
        return max(1, n_iter)
    return math.isqrt(max(0, n_iter - 1)) + 1  # ceil of the square root


def empty_flow(frame1: Tensor, *others: Any) -> Tensor:
    """Room for the flow of such frames: [..., C, H, W] -> [..., 2 C, H, W]."""
    *batch, channels, height, width = frame1.shape
    return frame1.new_empty(*batch, 2 * channels, height, width)


def empty_sums(frame1: Tensor) -> Tensor:
    """Room for the parameters' gradients, summed over the planes of each channel: [C, 29], float64.

    The 26 taps' come first, then theta's, lambda's and tau's, which still differ by channel.
    """
    return frame1.new_empty(frame1.shape[-3], 29, dtype=torch.float64)


def _gradient_shapes(frame1: Tensor, frame2: Tensor, *others: Any) -> Gradients:
    return frame1.new_empty(frame1.shape), frame2.new_empty(frame2.shape), empty_sums(frame1)
