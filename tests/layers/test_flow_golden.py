"""The released dense layer (repository head) is a variant of RepFlow: outputs, all gradients."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repflow_pl.layers.flow import RepFlow

GOLDEN = Path(__file__).parents[1] / "golden" / "layer_dense.npz"

OURS = {
    "img_grad": "iteration.image_x",
    "img_grad2": "iteration.image_y",
    "f_grad": "iteration.flow_x",
    "f_grad2": "iteration.flow_y",
    "div": "iteration.div_x",
    "div2": "iteration.div_y",
    "t": "iteration.theta",
    "l": "iteration.lam",
    "a": "iteration.tau",
    "bottleneck.weight": "bottleneck.weight",
    "unbottleneck.weight": "expand.weight",
    "bn.weight": "norm.weight",
    "bn.bias": "norm.bias",
}
BUFFERS = {f"bn.{n}": f"norm.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}


@functools.cache
def golden(number: int) -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        prefix = f"case{number}/"
        return {
            key.removeprefix(prefix): torch.from_numpy(arrays[key])
            for key in arrays.files
            if key.startswith(prefix)
        }


def as_ours(name: str, tensor: Tensor) -> Tensor:
    """Released kernels have a fourth dimension of length 1, 1x1 convolutions a third one."""
    if name.endswith("bottleneck.weight"):
        return tensor.flatten(2, 3)
    return tensor.flatten(2) if tensor.ndim == 4 else tensor


def layer_of(number: int, dtype: torch.dtype) -> RepFlow:
    case = golden(number)
    channels, planes = case["input"].shape[1], case["state.bottleneck.weight"].shape[0]
    everything = ("image_grad", "divergence", "theta", "lam", "tau")
    layer = RepFlow(
        channels,
        planes,
        int(case["n_iter"]),
        learn=everything,
        kernels="dense",
        normalise="batch",
        fuse="add",
    )
    state = {
        ours: as_ours(theirs, case[f"state.{theirs}"])
        for theirs, ours in {**OURS, **BUFFERS}.items()
    }
    layer.double().load_state_dict(state)
    return layer.to(dtype).train(bool(case["train"]))


def results(number: int, dtype: torch.dtype, draw: int | None = None) -> dict[str, Tensor]:
    """Output and gradients by their released names.

    A `draw` moves every input and parameter by about one float32 rounding.
    """
    case = golden(number)
    layer = layer_of(number, dtype)
    x = case["input"].to(dtype, copy=True)
    if draw is not None:
        make = torch.Generator().manual_seed(draw)
        with torch.no_grad():
            for tensor in (x, *layer.parameters()):
                noise = torch.randn(tensor.shape, generator=make, dtype=dtype)
                tensor *= 1 + 2.0**-24 * noise
    x.requires_grad_()
    out = layer(x)
    out.backward(case["cot"].to(dtype))
    assert x.grad is not None
    found = {"output": out.detach(), "grad_input": x.grad}
    for theirs, ours in OURS.items():
        gradient = layer.get_parameter(ours).grad
        assert gradient is not None
        found[f"grad.{theirs}"] = gradient
    return found


def off(number: int, found: dict[str, Tensor]) -> dict[str, float]:
    """Relative error of each result in the Euclidean norm."""
    case = golden(number)
    errors = {}
    for name, ours in found.items():
        wanted = as_ours(name, case[name])
        errors[name] = float((ours.double() - wanted).norm() / wanted.norm().clamp_min(1e-300))
    return errors


@pytest.mark.parametrize("number", range(4))
def test_float64(number: int) -> None:
    errors = off(number, results(number, torch.float64))
    assert len(errors) == 15
    assert max(errors.values()) < 1e-9, errors


@pytest.mark.parametrize("number", range(4))
def test_float32(number: int) -> None:
    """Within 32 times what one rounding of every input and parameter does to the float64 result.

    In case 2 that alone moves the gradients by more than they are: only its output tells anything.
    """
    conditions = [off(number, results(number, torch.float64, draw)) for draw in range(4)]
    for name, error in off(number, results(number, torch.float32)).items():
        assert error < 32 * max(2.0**-24, *(condition[name] for condition in conditions)), name


def test_running_statistics_follow() -> None:
    layer = layer_of(0, torch.float64)
    layer(golden(0)["input"])
    assert isinstance(layer.norm, nn.BatchNorm2d)
    assert layer.norm.num_batches_tracked == 1
