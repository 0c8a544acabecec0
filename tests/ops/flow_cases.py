"""What the tests of the flow op share: golden cases, random cases, one call with all gradients."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from repflow_pl.ops import FlowKernels, central_kernels, representation_flow, sobel_kernels

GOLDEN = Path(__file__).parents[1] / "golden" / "layer_depthwise.npz"
KERNEL_NAMES = ("img_grad", "img_grad2", "f_grad", "f_grad2", "div", "div2")
RESULTS = (
    "flow_x",
    "flow_y",
    "grad_frame1",
    "grad_frame2",
    *FlowKernels._fields,
    "theta",
    "lam",
    "tau",
)


class Case(NamedTuple):
    """The op's tensor arguments in order (two frames, six kernels, three scalars), and the rest."""

    tensors: list[Tensor]
    cotangents: list[Tensor]
    n_iter: int

    def to(self, dtype: torch.dtype) -> Case:
        return Case(
            [t.to(dtype) for t in self.tensors], [t.to(dtype) for t in self.cotangents], self.n_iter
        )


def golden_case(number: int) -> tuple[Case, list[Tensor]]:
    """The released layer's arguments, and its outputs and gradients in the order of RESULTS."""
    with np.load(GOLDEN) as arrays:
        case = {
            key.split("/", 1)[1]: torch.from_numpy(arrays[key])
            for key in arrays.files
            if key.startswith(f"case{number}/")
        }
    flat = {n: case[f"param.{n}"].flatten(1) for n in KERNEL_NAMES}
    scalars = [case[f"param.{n}"] for n in "tla"]
    tensors = [case["frame1"], case["frame2"], *flat.values(), *scalars]
    expected = [case[n] for n in ("flow_x", "flow_y", "grad_frame1", "grad_frame2")]
    expected += [case[f"grad.{n}"].flatten(1) for n in KERNEL_NAMES]
    expected += [case[f"grad.{n}"] for n in "tla"]
    return Case(tensors, [case["cot_x"], case["cot_y"]], int(case["n_iter"])), expected


def random_case(shape: tuple[int, int, int, int], n_iter: int, seed: int = 0) -> Case:
    """float64 frames over 0..255, perturbed kernels and scalars, normal cotangents.

    Odd seeds have full 3x3 image kernels.
    """
    make = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=make, dtype=torch.float64)

    frames = [255 * torch.rand(shape, generator=make, dtype=torch.float64) for _ in range(2)]
    start = (sobel_kernels if seed % 2 else central_kernels)(shape[1], dtype=torch.float64)
    kernels = [k + 0.1 * normal(*k.shape) for k in start]
    scalars = [v * torch.exp(0.2 * normal(1)) for v in (0.3, 0.15, 0.25)]
    return Case([*frames, *kernels, *scalars], [normal(*shape), normal(*shape)], n_iter)


def operator_inputs(case: Case) -> tuple[Tensor | int, ...]:
    """What a backend's forward operator takes, all with gradients."""
    return *(tensor.requires_grad_() for tensor in case.tensors), case.n_iter


def call(tensors: list[Tensor], n_iter: int, backend: str) -> tuple[Tensor, Tensor]:
    frame1, frame2, *parameters = tensors
    kernels, scalars = FlowKernels(*parameters[:6]), parameters[6:]
    return representation_flow(frame1, frame2, kernels, *scalars, n_iter, backend)


def results(case: Case, backend: str) -> list[Tensor]:
    """Flow and all gradients, in the order of RESULTS."""
    leaves = [t.detach().clone().requires_grad_() for t in case.tensors]
    flow = call(leaves, case.n_iter, backend)
    gradients = torch.autograd.grad(flow, leaves, case.cotangents)
    return [f.detach() for f in flow] + list(gradients)


def relative(actual: Tensor, expected: Tensor) -> float:
    """|actual - expected| / |expected| in the Euclidean norm; 0 where both are zero."""
    difference = (actual.double() - expected.double()).norm()
    return float(difference / expected.double().norm().clamp_min(1e-300))


def rounding_tolerances(case: Case, samples: int = 4) -> list[float]:
    """How far, relatively, each result may be off in float32: 16 times its condition.

    The condition is what one relative rounding (2^-24) of every input does to the float64 result,
    at most over some draws. It is large only where a result is a small difference of large terms
    or a pixel is close to a corner of the clamp; there no float32 arithmetic can do better. Each
    iteration adds rounding of its own, which the factor covers (largest seen: 4).
    """
    make = torch.Generator().manual_seed(7)
    exact = results(case, "eager")
    worst = [2.0**-24] * len(exact)
    for _ in range(samples):
        moved = [
            t * (1 + 2.0**-24 * torch.randn(t.shape, generator=make, dtype=t.dtype))
            for t in case.tensors
        ]
        perturbed = results(case._replace(tensors=moved), "eager")
        worst = [max(w, relative(p, e)) for w, p, e in zip(worst, perturbed, exact, strict=True)]
    return [16 * w for w in worst]
