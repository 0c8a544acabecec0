"""Stacks of flow layers: the released Flow-Conv-Flow written out by hand, shapes, errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import FlowIteration, RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.layers.scaling import Normalise

pytestmark = pytest.mark.usefixtures("seeded")


def _pairwise_flow(iteration: FlowIteration, x: Tensor) -> Tensor:
    scaled = 255 * (x - x.min()) / (x.min() - x.max())  # the released normalisation, -255..0
    pairs = [iteration(scaled[:, :, t], scaled[:, :, t + 1]) for t in range(x.shape[2] - 1)]
    return torch.stack(pairs, 2)


def _each(conv: torch.nn.Module, x: Tensor) -> Tensor:
    return torch.stack([conv(frame) for frame in x.unbind(2)], 2)


def test_the_released_flow_conv_flow() -> None:
    """As the released flow_2p1d_resnets computes it between its second and third layer."""
    stack = FlowStack(6, residual=True, bottleneck=4, n_iter=5, normalise="batch").double().eval()
    torch.nn.init.uniform_(stack.norm.weight)
    x = torch.randn(2, 6, 5, 7, 8, dtype=torch.float64)
    y = _pairwise_flow(stack.iterations[0], _each(stack.before[0], x))
    y = _pairwise_flow(stack.iterations[1], _each(stack.before[1], y))
    y = _each(stack.norm, _each(stack.expand, y))
    expected = F.relu(y + F.avg_pool3d(x, (3, 1, 1), 1, 0))
    torch.testing.assert_close(stack(x), expected, rtol=1e-7, atol=1e-9)


def test_flow_of_flow_takes_the_flow_itself() -> None:
    stack = FlowStack(6, convolve=False, bottleneck=4, n_iter=5, normalise="batch").double().eval()
    x = torch.randn(1, 6, 4, 7, 8, dtype=torch.float64)
    y = _pairwise_flow(stack.iterations[0], _each(stack.before[0], x))
    y = _pairwise_flow(stack.iterations[1], y)
    assert y.shape[1] == 16
    expected = F.relu(_each(stack.norm, _each(stack.expand, y)))
    torch.testing.assert_close(stack(x), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("convolve", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_shapes(layers: int, convolve: bool, residual: bool) -> None:
    stack = FlowStack(6, layers, convolve, residual, bottleneck=2, n_iter=2)
    assert stack(torch.randn(2, 6, 5, 7, 9)).shape == (2, 6, 5 - layers, 7, 9)


def test_a_new_residual_stack_passes_the_averaged_features_on() -> None:
    stack = FlowStack(6, layers=2, residual=True, bottleneck=2, n_iter=2)
    x = torch.rand(2, 6, 5, 7, 9)
    torch.testing.assert_close(stack(x), F.avg_pool3d(x, (3, 1, 1), 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    stack, x = FlowStack(6, residual=True, bottleneck=2, n_iter=2), torch.rand(2, 6, 5, 7, 9)
    out = stack.to(dtype)(x.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), F.avg_pool3d(x, (3, 1, 1), 1), rtol=0.01, atol=0.01)


def test_too_short_and_too_few() -> None:
    with pytest.raises(ValueError, match="3 frames or more; these have 2"):
        FlowStack(6, bottleneck=2)(torch.randn(1, 6, 2, 5, 5))
    with pytest.raises(UserError, match="layers must be 1 or more"):
        FlowStack(6, layers=0)


@pytest.mark.parametrize("bottleneck", [None, 4])
@pytest.mark.parametrize("normalise", ["clip", "batch"])
def test_one_layer_is_rep_flow_bit_for_bit(bottleneck: int | None, normalise: Normalise) -> None:
    """Without convolutions, with the same values: what goes on, and every gradient."""
    layer = RepFlow(8, bottleneck=bottleneck, n_iter=4, normalise=normalise)
    stack = FlowStack(
        8, layers=1, convolve=False, bottleneck=bottleneck, n_iter=4, normalise=normalise
    )
    names = {"bottleneck.": "before.0.", "iteration.": "iterations.0."}
    state = layer.state_dict()
    for own, theirs in names.items():
        state = {name.replace(own, theirs): value for name, value in state.items()}
    stack.load_state_dict(state)
    clip = torch.randn(2, 8, 4, 10, 12)
    clips = [clip.clone().requires_grad_() for _ in range(2)]
    one, other = layer(clips[0]), stack(clips[1])
    assert torch.equal(one, other)
    for out in (one, other):
        out.square().sum().backward()
    assert torch.equal(clips[0].grad, clips[1].grad)  # type: ignore[arg-type]
    found = {name: parameter.grad for name, parameter in stack.named_parameters()}
    for name, parameter in layer.named_parameters():
        for own, theirs in names.items():
            name = name.replace(own, theirs)
        assert (parameter.grad is None) == (found[name] is None)
        if parameter.grad is not None:
            assert torch.equal(parameter.grad, found[name]), name  # type: ignore[arg-type]
