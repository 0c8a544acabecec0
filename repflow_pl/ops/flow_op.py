"""The flow op as a custom operator of torch with a gradient, made of a backend's two functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.library import CustomOpDef

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

_OF = "Tensor frame1, Tensor frame2, Tensor image, Tensor taps, Tensor scalars, SymInt n_iter"
FORWARD = f"({_OF}) -> Tensor"
BACKWARD = (
    f"(Tensor cotangent, {_OF}, bool with_frames, bool with_sums) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)


@dataclass(frozen=True)
class FlowOp:
    """The flow of two frames [..., C, H, W], and its gradient, as operators that torch can trace.

    The flow is [..., 2 C, H, W], all x before all y. Both take the frames, the image kernels
    [C, 18] (two of 3 x 3), the other taps [C, 8] (four kernels of 2), the scalars [3] (theta,
    lambda, tau) and n_iter. Gradients come for the frames ``with_frames``, for taps and scalars
    ``with_sums``, for the image kernels with both; elsewhere anything may stand. Differentiable
    once, by reverse mode; RuntimeError at a second derivative.
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
    ) -> Tensor:
        """As ``joined_flow`` of flow.py, for tensors of one dtype, float32 or float64.

        Frames may be of 16 bits for a backend that reads them, all else then of float32. The image
        kernels are [C, 3, 3].
        """
        flat = [kernel.flatten(1) for kernel in kernels]
        image, taps = torch.cat(flat[:2], dim=1), torch.cat(flat[2:], dim=1)
        scalars = torch.stack([theta, lam, tau])
        flow: Tensor = self.forward(frame1, frame2, image, taps, scalars, n_iter)
        return flow


def register(
    device: str, forward: Callable[..., Tensor], backward: Callable[..., Gradients]
) -> FlowOp:
    """Give ``repflow_pl::flow_<device>`` its kernels, shapes and gradient; once in a process.

    ``forward`` and ``backward`` take the arguments of FORWARD and BACKWARD, in that order.
    """

    def operator(name: str, function: Callable[..., Any], schema: str) -> CustomOpDef:
        return torch.library.custom_op(
            name, function, mutates_args=(), device_types=device, schema=schema
        )

    flow = operator(f"repflow_pl::flow_{device}", forward, FORWARD)
    gradient = operator(f"repflow_pl::flow_{device}_backward", backward, BACKWARD)

    def refuse(ctx: Any, *cotangents: Tensor) -> NoReturn:
        raise RuntimeError(
            f"The fused flow backend {device!r} has no second derivative: give backend='eager'."
        )

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.n_iter = inputs
        ctx.save_for_backward(*tensors)

    def backpropagate(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        *needed, _ = ctx.needs_input_grad
        with_frames, with_sums = any(needed[:3]), any(needed[2:])
        gradients = gradient(cotangent, *ctx.saved_tensors, ctx.n_iter, with_frames, with_sums)
        wanted = (g if needs else None for g, needs in zip(gradients, needed, strict=True))
        return (*wanted, None)

    flow.register_fake(empty_flow)
    gradient.register_fake(_gradient_shapes)
    flow.register_autograd(backpropagate, setup_context=setup_context)
    gradient.register_autograd(refuse)
    return FlowOp(flow, gradient)


def split_sums(
    sums: Tensor, image: Tensor, taps: Tensor, scalars: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the parameters, of their dtypes, from the sums [C, 29] of all planes.

    The 26 taps' come first, then theta's, lambda's and tau's, which still differ by channel.
    """
    of_image, of_taps, of_scalars = sums.split([18, 8, 3], dim=1)
    return (
        of_image.to(image.dtype, copy=True),
        of_taps.to(taps.dtype, copy=True),
        of_scalars.sum(0).to(scalars.dtype, copy=True),
    )


def segment_length(n_iter: int, state_bytes: int, kept_bytes: int) -> int:
    """Iterations between two stored states in a backward: all, where so many bytes may be kept."""
    if (n_iter + 1) * state_bytes <= kept_bytes:
        return max(1, n_iter)
    return math.isqrt(max(0, n_iter - 1)) + 1  # ceil of the square root


def empty_flow(frame1: Tensor, *others: Tensor | int) -> Tensor:
    """Room for the flow of such frames: [..., C, H, W] -> [..., 2 C, H, W]."""
    *batch, channels, height, width = frame1.shape
    return frame1.new_empty(*batch, 2 * channels, height, width)


def _gradient_shapes(cotangent: Tensor, *inputs: Tensor | int) -> tuple[Tensor, ...]:
    tensors = [each for each in inputs if isinstance(each, Tensor)]
    return tuple(tensor.new_empty(tensor.shape) for tensor in tensors)
