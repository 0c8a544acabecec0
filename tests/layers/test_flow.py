"""RepFlow: shapes, what learns, normalisation, independence of the batch, round trips."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import Fuse, Kernels, RepFlow
from repflow_pl.layers.scaling import to_255
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

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("bottleneck", [None, 4])
def test_shape(bottleneck: int | None) -> None:
    layer = RepFlow(6, bottleneck, n_iter=3)
    assert layer(torch.randn(2, 6, 5, 7, 9)).shape == (2, 6, 4, 7, 9)


@pytest.mark.parametrize("kernels", ["central", "sobel", "dense"])
@pytest.mark.parametrize("learn", SUBSETS, ids="+".join)
def test_exactly_the_chosen_parameters_get_gradients(
    learn: tuple[str, ...], kernels: Kernels
) -> None:
    layer = RepFlow(3, 2, n_iter=4, learn=learn, kernels=kernels)
    layer(torch.randn(2, 3, 3, 6, 6)).square().sum().backward()
    chosen = {name for choice in learn for name in OF_PARAMETER[choice]}
    for names in OF_PARAMETER.values():
        for name in names:
            gradient = getattr(layer.iteration, name).grad
            assert (gradient is not None and bool(gradient.abs().sum() > 0)) == (name in chosen)


FUSIONS = {
    "none": lambda flow, x: flow,
    "add": lambda flow, x: flow + x,
    "multiply": lambda flow, x: flow * x,
}


@pytest.mark.parametrize("fuse", ["none", "add", "multiply", "concat"])
@pytest.mark.parametrize("kernels", ["central", "sobel"])
def test_forward_is_the_op_between_its_convolutions(kernels: Kernels, fuse: Fuse) -> None:
    layer = RepFlow(3, 2, n_iter=5, kernels=kernels, fuse=fuse).double().eval()
    x = torch.randn(1, 3, 3, 6, 6, dtype=torch.float64)
    expected = []
    frames = to_255(torch.stack([layer.bottleneck(x[:, :, t]) for t in range(3)], 2))
    own = layer.iteration
    parameters = FlowKernels(own.image_x, own.image_y, own.flow_x, own.flow_y, own.div_x, own.div_y)
    for t in range(2):
        flow = torch.cat(
            representation_flow(
                frames[:, :, t],
                frames[:, :, t + 1],
                parameters,
                own.theta,
                own.lam,
                own.tau,
                5,
                "eager",
            ),
            1,
        )
        if fuse == "concat":
            out = layer.norm(layer.expand(torch.cat([flow, x[:, :, t]], 1)))
        else:
            out = FUSIONS[fuse](layer.norm(layer.expand(flow)), x[:, :, t])
        expected.append(out.relu())
    torch.testing.assert_close(layer(x), torch.stack(expected, 2))


def test_flow_comes_as_two_components_with_time() -> None:
    layer = RepFlow(3, 2, n_iter=5)
    flow_x, flow_y = layer.flow(torch.randn(2, 3, 4, 6, 5))
    assert flow_x.shape == flow_y.shape == (2, 2, 3, 6, 5)


# The kernels are used inside the iteration, the features join behind it: each once is enough.
@pytest.mark.parametrize(
    "kernels, fuse",
    [("central", "none"), ("central", "multiply"), ("sobel", "concat"), ("dense", "add")],
)
def test_gradcheck(kernels: Kernels, fuse: Fuse) -> None:
    """Input and all parameters at once, through the normalisation and batch statistics."""
    layer = RepFlow(2, 2, n_iter=3, learn=FLOW_PARAMETERS, kernels=kernels, fuse=fuse).double()
    x = torch.randn(2, 2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        assert isinstance(out, torch.Tensor)
        return out

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(run, (x, *values), eps=1e-6, atol=1e-4, rtol=1e-3)


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


def test_a_constant_clip_has_finite_output_and_gradients() -> None:
    layer = RepFlow(3, 2)
    x = torch.ones(2, 3, 3, 5, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)


def test_copies_and_state_dicts_give_the_same() -> None:
    layer = RepFlow(3, 2).eval()
    with torch.no_grad():
        layer.iteration.theta += 0.05
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


def test_an_unknown_fusion_is_refused_with_close_matches() -> None:
    with pytest.raises(UserError, match="did you mean add"):
        RepFlow(3, 2, fuse="ad")  # type: ignore[arg-type]


def test_an_empty_batch_gives_an_empty_batch() -> None:
    assert RepFlow(3, 2).eval()(torch.zeros(0, 3, 4, 6, 6)).shape == (0, 3, 3, 6, 6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    """The convolutions run in half precision, the iteration in float32."""
    layer, x = RepFlow(3, 2).eval(), torch.randn(2, 3, 4, 6, 6)
    with torch.autocast("cpu", dtype=dtype):
        out = layer(x)
    torch.testing.assert_close(out.float(), layer(x), rtol=0.1, atol=0.1)


def test_channels_last_gives_the_same() -> None:
    layer, x = RepFlow(6, 4).eval(), torch.randn(2, 6, 4, 7, 9)
    moved = x.contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(layer(moved), layer(x), rtol=1e-4, atol=1e-5)


def test_the_same_input_gives_the_same_bits() -> None:
    layer, x = RepFlow(6, 4), torch.randn(2, 6, 4, 7, 9)

    def gradients() -> list[torch.Tensor]:
        layer.zero_grad()
        layer(x).square().sum().backward()
        return [p.grad.clone() for p in layer.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


@pytest.mark.long
@pytest.mark.parametrize("kernels", ["central", "sobel", "dense"])
def test_compiles_in_one_graph(kernels: Kernels) -> None:
    layer, x = RepFlow(3, 2, n_iter=2, kernels=kernels).eval(), torch.randn(2, 3, 4, 6, 6)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-6)
    compiled(x).sum().backward()


@pytest.mark.long
@pytest.mark.parametrize("kernels", ["central", "sobel", "dense"])
def test_exports(kernels: Kernels) -> None:
    """The exported program has no operator of this package: it runs where that is not."""
    layer, x = RepFlow(3, 2, n_iter=2, kernels=kernels).eval(), torch.randn(2, 3, 4, 6, 6)
    program = torch.export.export(layer, (x,))
    assert "repflow_pl" not in str(program.graph)
    torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-4, atol=1e-4)
