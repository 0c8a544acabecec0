"""Derivatives beside the plain gradient: forward, second, by sample; and those that are zero."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from repflow_pl.errors import UserError
from repflow_pl.layers.conv import Pointwise
from repflow_pl.layers.flow import FlowIteration, RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.layers.scaling import to_255
from repflow_pl.ops import BACKENDS
from repflow_pl.specs import FLOW_PARAMETERS

LAYERS = {
    "RepFlow": lambda **options: RepFlow(6, 4, 3, FLOW_PARAMETERS, **options),
    "dense": lambda **options: RepFlow(6, 4, 3, FLOW_PARAMETERS, "dense", "batch", **options),
    "Flow-of-Flow": lambda **options: FlowStack(6, 2, False, False, 4, 3, **options),
    "Flow-Conv-Flow": lambda **options: FlowStack(6, 2, True, False, 4, 3, **options),
}
KINDS = pytest.mark.parametrize("kind", LAYERS)

pytestmark = pytest.mark.usefixtures("seeded")


def _layer(kind: str, **options: Any) -> nn.Module:
    """In float64; batch norm alone would make neighbours of the clips."""
    layer: nn.Module = LAYERS[kind](**options).double().eval()
    return layer


@KINDS
def test_forward_derivatives_are_those_of_finite_differences(kind: str) -> None:
    layer = _layer(kind)
    x, along = torch.randn(2, 2, 6, 4, 7, 8, dtype=torch.float64)
    step = 1e-6 * along
    with torch.no_grad():
        wanted = (layer(x + step) - layer(x - step)) / 2e-6
        with forward_ad.dual_level():
            found = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, along))).tangent
    assert found is not None
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.func.jvp(layer, (x,), (along,))[1], found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@KINDS
def test_gradients_by_sample_are_those_of_the_samples(kind: str, dtype: torch.dtype) -> None:
    layer, clips = _layer(kind).to(dtype), torch.randn(3, 6, 4, 8, 8, dtype=dtype)
    parameters = {name: p for name, p in layer.named_parameters() if p.requires_grad}

    def loss(parameters: dict[str, Tensor], clip: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, parameters, (clip[None],))
        return out.square().sum()

    by_sample = torch.vmap(torch.func.grad(loss), (None, 0))(parameters, clips)
    for i, clip in enumerate(clips):
        wanted = torch.autograd.grad(loss(parameters, clip), list(parameters.values()))
        for name, theirs in zip(parameters, wanted, strict=True):
            limit = 1e-8 if dtype == torch.float64 else 0.02  # flow amplifies rounding
            assert (by_sample[name][i] - theirs).norm() <= limit * theirs.norm(), name
    together = torch.vmap(loss, (None, 0))(parameters, clips)
    alone = torch.stack([loss(parameters, clip) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_torch_func_compiles_in_one_graph() -> None:
    by_clip = torch.vmap(lambda clip: layer(clip[None])[0])
    layer, clips = RepFlow(3, 2, n_iter=1).eval(), torch.randn(2, 3, 2, 5, 6)
    compiled = torch.compile(by_clip, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(clips), by_clip(clips))


@KINDS
def test_eager_has_second_derivatives(kind: str) -> None:
    layer = _layer(kind, backend="eager")
    x, along = torch.randn(2, 1, 6, 4, 5, 5, dtype=torch.float64)

    def gradient(x: Tensor) -> Tensor:
        return torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)[0]

    x.requires_grad_()
    (found,) = torch.autograd.grad((gradient(x) * along).sum(), x)
    wanted = ((gradient(x + 1e-6 * along) - gradient(x - 1e-6 * along)) / 2e-6).detach()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_a_fused_backend_that_is_forced_refuses_what_it_cannot_do() -> None:
    pytest.importorskip("numba")
    layer, x = RepFlow(3, 2, 2, backend="cpu").eval(), torch.randn(1, 3, 3, 5, 5)
    with pytest.raises(ValueError, match=r"no forward derivatives and no torch\.func"):
        torch.func.jvp(layer, (x,), (x,))
    with forward_ad.dual_level(), pytest.raises(ValueError, match="no forward derivatives"):
        layer(forward_ad.make_dual(x, x))


@pytest.mark.parametrize("channels_last", [False, True])
def test_every_derivative_of_the_convolution(channels_last: bool) -> None:
    layer = Pointwise(6, 8 if channels_last else 3)
    x, along = torch.randn(2, 2, 6, 4, 5)

    def loss(x: Tensor) -> Tensor:
        return layer(x).pow(3).sum()  # type: ignore[no-any-return]

    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x, create_graph=True)
    (second,) = torch.autograd.grad((gradient * along).sum(), x)
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (along,))[1], (gradient * along).sum())
    torch.testing.assert_close(
        second, torch.func.jvp(torch.func.grad(loss), (x,), (along,))[1], rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("ties", [False, True])
def test_every_derivative_of_the_scaling(ties: bool) -> None:
    clips = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    clips = clips.clamp(-0.5, 0.75) if ties else clips
    if not ties:  # finite differences see no share of a minimum
        clips.requires_grad_()
        assert torch.autograd.gradgradcheck(to_255, clips)
        assert torch.autograd.gradcheck(to_255, clips, check_forward_ad=True)
    along = torch.randn_like(clips)
    leaf = clips.detach().requires_grad_()
    weights = torch.randn_like(clips)
    (gradient,) = torch.autograd.grad((to_255(leaf) * weights).sum(), leaf)
    tangent = torch.func.jvp(to_255, (leaf.detach(),), (along,))[1]
    torch.testing.assert_close((tangent * weights).sum(), (gradient * along).sum())


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("n_iter", [0, 1])
@KINDS
def test_every_parameter_has_a_gradient(kind: str, n_iter: int, backend: str) -> None:
    """Zero where it changes nothing: distributed training waits for every one."""
    layer = LAYERS[kind](backend=backend)
    for module in layer.modules():
        if isinstance(module, FlowIteration):
            module.n_iter = n_iter
    x = torch.randn(2, 6, 4, 7, 8, requires_grad=True)
    out = layer(x)
    (out * torch.randn_like(out)).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("make", [RepFlow, FlowStack, FlowIteration])
def test_unknown_backends_are_refused_with_close_matches(make: Any) -> None:
    with pytest.raises(UserError, match="did you mean eager"):
        make(3, backend="eagre")
    with pytest.raises(UserError, match="Known: auto, eager"):
        make(3, kernels="dense", backend="cpu")
    assert {"auto", "cuda", "cpu", "eager"} == set(BACKENDS)
