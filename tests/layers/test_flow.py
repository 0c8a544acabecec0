"""RepFlow: shapes, what learns, normalisation, independence of the batch, round trips."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import RepFlow, to_255
from repflow_pl.ops import FlowKernels, representation_flow
from repflow_pl.specs import FLOW_PARAMETERS

OF_PARAMETER = {
    "image_grad": ("image_x", "image_y"),
    "divergence": ("flow_x", "flow_y", "div_x", "div_y"),
    "theta": ("theta",),
    "lam": ("lam",),
    "tau": ("tau",),
}
SUBSETS = [
    subset
    for size in range(len(FLOW_PARAMETERS) + 1)
    for subset in itertools.combinations(FLOW_PARAMETERS, size)
]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("bottleneck", [None, 4])
def test_shape(bottleneck: int | None) -> None:
    layer = RepFlow(6, bottleneck, n_iter=3)
    assert layer(torch.randn(2, 6, 5, 7, 9)).shape == (2, 6, 4, 7, 9)


@pytest.mark.parametrize("learn", SUBSETS, ids="+".join)
def test_exactly_the_chosen_parameters_get_gradients(learn: tuple[str, ...]) -> None:
    layer = RepFlow(3, 2, n_iter=4, learn=learn)
    layer(torch.randn(2, 3, 3, 6, 6)).square().sum().backward()
    chosen = {name for choice in learn for name in OF_PARAMETER[choice]}
    for names in OF_PARAMETER.values():
        for name in names:
            gradient = getattr(layer, name).grad
            assert (gradient is not None and bool(gradient.abs().sum() > 0)) == (name in chosen)


def test_unknown_parameter_is_refused_with_close_matches() -> None:
    with pytest.raises(UserError, match="did you mean theta"):
        RepFlow(3, learn=["thetta"])


def test_one_frame_has_no_flow() -> None:
    with pytest.raises(ValueError, match="2 frames or more"):
        RepFlow(3, 2)(torch.randn(1, 3, 1, 4, 4))


def test_forward_is_the_op_between_its_convolutions() -> None:
    layer = RepFlow(3, 2, n_iter=5).double().eval()
    x = torch.randn(1, 3, 3, 6, 6, dtype=torch.float64)
    expected = []
    frames = to_255(torch.stack([layer.bottleneck(x[:, :, t]) for t in range(3)], 1))
    kernels = FlowKernels(
        layer.image_x, layer.image_y, layer.flow_x, layer.flow_y, layer.div_x, layer.div_y
    )
    for t in range(2):
        flow = representation_flow(
            frames[:, t], frames[:, t + 1], kernels, layer.theta, layer.lam, layer.tau, 5, "eager"
        )
        expected.append(layer.norm(layer.expand(torch.cat(flow, 1))).relu())
    torch.testing.assert_close(layer(x), torch.stack(expected, 2))


def test_a_prediction_does_not_depend_on_the_batch() -> None:
    layer = RepFlow(3, 2).eval()
    quiet, loud = torch.randn(1, 3, 3, 6, 6), 100 * torch.randn(1, 3, 3, 6, 6)
    together = layer(torch.cat([quiet, loud]))
    torch.testing.assert_close(together[:1], layer(quiet), rtol=1e-5, atol=1e-6)


def test_a_nan_stays_in_its_own_clip() -> None:
    layer = RepFlow(3, 2).eval()
    clips = torch.randn(2, 3, 3, 6, 6)
    clips[1, 0, 1, 2, 3] = float("nan")
    out = layer(clips)
    torch.testing.assert_close(out[:1], layer(clips[:1]), rtol=1e-5, atol=1e-6)
    assert out[1].isnan().any()


def test_normalisation_spans_0_to_255_for_each_clip() -> None:
    clips = torch.randn(3, 2, 4, 5) * torch.tensor([1.0, 10.0, 1e-3])[:, None, None, None]
    scaled = to_255(clips).flatten(1)
    torch.testing.assert_close(scaled.amin(1), torch.zeros(3))
    torch.testing.assert_close(scaled.amax(1), torch.full((3,), 255.0))


def test_a_constant_clip_has_finite_output_and_gradients() -> None:
    layer = RepFlow(3, 2)
    x = torch.ones(2, 3, 3, 5, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)


def test_copies_and_state_dicts_give_the_same() -> None:
    layer = RepFlow(3, 2).eval()
    with torch.no_grad():
        layer.theta += 0.05
    x = torch.randn(1, 3, 3, 6, 6)
    other = RepFlow(3, 2).eval()
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    layer, x = RepFlow(3, 2).eval(), torch.randn(1, 3, 3, 6, 6)
    out = copy.deepcopy(layer).to(dtype)(x.to(dtype))
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), layer(x), rtol=0.1, atol=0.1)


def test_iteration_flops_grow_with_iterations_and_size() -> None:
    x = torch.randn(1, 3, 3, 6, 6)
    few, many = RepFlow(3, 2, n_iter=1), RepFlow(3, 2, n_iter=2)
    assert many.iteration_flops(x) > few.iteration_flops(x) > 0
    assert few.iteration_flops(torch.cat([x, x])) == 2 * few.iteration_flops(x)
