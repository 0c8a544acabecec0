"""Dtypes, layouts, empty inputs, and the errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from repflow_pl.ops import (
    FlowKernels,
    available_backends,
    central_kernels,
    chosen_backend,
    flow_cpu,
    flow_flops,
    joined_flow,
    representation_flow,
)

from .flow_cases import call, random_case, relative, results


def _arguments(shape: tuple[int, ...] = (2, 3, 6, 5), **changes: Any) -> dict[str, Any]:
    case = random_case((2, 3, 6, 5), 0)
    arguments = {
        "frame1": case.tensors[0].float(),
        "frame2": case.tensors[1].float(),
        "kernels": central_kernels(3),
        "theta": torch.tensor([0.3]),
        "lam": torch.tensor(0.15),
        "tau": torch.tensor([0.25]),
        "n_iter": 4,
    }
    return {**arguments, **changes}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_iterates_in_float32(dtype: torch.dtype, backend: str) -> None:
    case = random_case((2, 3, 8, 9), 20).to(torch.float32)
    case.tensors[:2] = [t.to(dtype) for t in case.tensors[:2]]
    flow = call(case.tensors, 20, backend)
    wanted = call([t.float() for t in case.tensors], 20, backend)
    for ours, single in zip(flow, wanted, strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, single.to(dtype))
    gradients = results(case, backend)[2:]
    assert [g.dtype for g in gradients] == [t.dtype for t in case.tensors]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype: torch.dtype, backend: str) -> None:
    case = random_case((1, 2, 7, 6), 10).to(torch.float32)
    plain = results(case, backend)
    with torch.autocast("cpu", dtype=dtype):
        under = results(case, backend)
    assert all(torch.equal(a, b) for a, b in zip(plain, under, strict=True))


def test_float64_parameters_with_float32_frames(backend: str) -> None:
    flow_x, _ = representation_flow(
        **_arguments(kernels=central_kernels(3, dtype=torch.float64), backend=backend)
    )
    assert flow_x.dtype == torch.float32


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
        lambda t: torch.stack([t, t], -1)[..., 0],
        lambda t: t.unsqueeze(1).expand(-1, 2, -1, -1, -1)[:, 0],
    ],
    ids=["channels_last", "transposed", "strided", "expanded"],
)
def test_layout_does_not_matter(rearrange: Callable[[Tensor], Tensor], backend: str) -> None:
    case = random_case((2, 3, 6, 7), 5)
    plain = call(case.tensors, 5, backend)
    moved = call([*map(rearrange, case.tensors[:2]), *case.tensors[2:]], 5, backend)
    assert all(relative(a, b) < 1e-13 for a, b in zip(moved, plain, strict=True))


def test_any_leading_dimensions(backend: str) -> None:
    """The frames of clips, each as the first and as the second of a pair, without a copy."""
    generator = torch.Generator().manual_seed(0)
    clips = 255 * torch.rand(2, 3, 5, 6, 7, generator=generator, dtype=torch.float64)
    cotangent = torch.randn(2, 4, 6, 6, 7, generator=generator, dtype=torch.float64)
    parameters = random_case((1, 3, 6, 7), 1).tensors[2:]
    kernels, scalars = FlowKernels(*parameters[:6]), parameters[6:]

    def flow_and_gradient(as_pairs: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        leaf = clips.clone().requires_grad_()
        frames = leaf.transpose(1, 2)  # [B, T, C, H, W], planes far apart
        first, second = as_pairs(frames[:, :-1]), as_pairs(frames[:, 1:])
        flow = joined_flow(first, second, kernels, *scalars, 5, backend)
        flow.backward(as_pairs(cotangent))
        assert leaf.grad is not None
        return flow.detach(), leaf.grad

    flow, gradient = flow_and_gradient(lambda frames: frames)
    flat, wanted = flow_and_gradient(lambda frames: frames.flatten(0, 1))
    assert flow.shape == cotangent.shape and torch.equal(flow.flatten(0, 1), flat)
    assert torch.equal(gradient, wanted)


def test_joined_is_x_before_y(backend: str) -> None:
    flow = representation_flow(**_arguments(backend=backend))
    assert torch.equal(joined_flow(**_arguments(backend=backend)), torch.cat(flow, dim=1))


def test_parameters_may_be_views(backend: str) -> None:
    case = random_case((2, 3, 6, 7), 5)
    views = [t.repeat(1, 2)[:, : t.shape[1]] if t.ndim == 2 else t for t in case.tensors]
    assert torch.equal(call(views, 5, backend)[0], call(case.tensors, 5, backend)[0])


@pytest.mark.parametrize("shape", [(0, 3, 5, 4), (2, 0, 5, 4)])
def test_no_planes(shape: tuple[int, int, int, int], backend: str) -> None:
    case = random_case(shape, 3)
    flow_x, flow_y, *gradients = results(case, backend)
    assert flow_x.shape == flow_y.shape == shape
    assert [g.shape for g in gradients] == [t.shape for t in case.tensors]
    assert not any(g.any() for g in gradients)


def test_no_iterations(backend: str) -> None:
    found = results(random_case((2, 2, 4, 4), 0), backend)
    assert not any(r.any() for r in found)


def test_inputs_are_left_alone(backend: str) -> None:
    case = random_case((2, 2, 5, 6), 3)
    before = [t.clone() for t in case.tensors]
    results(case, backend)
    assert all(torch.equal(a, b) for a, b in zip(before, case.tensors, strict=True))


_frame = torch.zeros(2, 3, 6, 5)
ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "not 4 dimensions": ({"frame1": _frame[0], "frame2": _frame[0]}, r"\[N, C, H, W\]"),
    "two shapes": ({"frame2": _frame[:, :, :5]}, r"\[2, 3, 6, 5\] and \[2, 3, 5, 5\]"),
    "one row": ({"frame1": _frame[:, :, :1], "frame2": _frame[:, :, :1]}, "at least 2 pixels"),
    "one column": ({"frame1": _frame[..., :1], "frame2": _frame[..., :1]}, "at least 2 pixels"),
    "two dtypes": ({"frame2": _frame.double()}, "float32 and torch.float64"),
    "integers": ({"frame1": _frame.int(), "frame2": _frame.int()}, "floating-point"),
    "channels": ({"kernels": central_kernels(4)}, r"image_x must be \[3, 3\] or .* \[4, 3\]"),
    "taps": (
        {"kernels": central_kernels(3)._replace(div_y=torch.zeros(3, 3))},
        r"div_y must be \[3, 2\]",
    ),
    "full taps": (
        {"kernels": central_kernels(3)._replace(image_y=torch.zeros(3, 3, 2))},
        r"image_y must be \[3, 3\] or \[3, 3, 3\].*it is \[3, 3, 2\]",
    ),
    "theta": ({"theta": torch.zeros(3)}, "theta must have one element"),
    "number": ({"lam": 0.15}, r"lam must be a tensor: give torch\.tensor\(0\.15\)"),
    "devices": ({"tau": torch.zeros(1, device="meta")}, "cpu and meta"),
    "n_iter": ({"n_iter": -1}, "n_iter must be 0 or more; it is -1"),
    "unknown backend": ({"backend": "eagre"}, "no flow backend 'eagre'.*Did you mean 'eager'"),
    "no close match": ({"backend": "xyz"}, r"there are \['auto', 'cuda', 'cpu', 'eager'\]\.$"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    changes, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        representation_flow(**_arguments(**changes))


def test_cpu_backend_refuses_another_device() -> None:
    reason = flow_cpu.refusal(torch.zeros(1, 1, 2, 2, device="meta"))
    assert reason is not None and "meta" in reason


def test_auto_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    assert available_backends(_frame) == ("cpu", "eager")
    assert chosen_backend(_frame) == "cpu"
    case = random_case((2, 3, 6, 5), 4)
    assert torch.equal(call(case.tensors, 4, "auto")[0], call(case.tensors, 4, "cpu")[0])


def test_flops_are_counted_from_the_algorithm() -> None:
    assert flow_flops(0, 28, 28, 20) == 0
    assert flow_flops(1, 1, 1, 0) == 14
    # 66 an iteration: 4 + 4 + 4 + 18 + 12 + 8 + 16
    assert flow_flops(3, 5, 7, 11) - flow_flops(3, 5, 7, 10) == 3 * 5 * 7 * 66
