import pytest
import torch
from torch import Tensor, nn

from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.layers.scaling import Normalise, to_255


def test_every_clip_spans_0_to_255() -> None:
    clips = torch.randn(3, 2, 4, 5) * torch.tensor([1.0, 10.0, 1e-3])[:, None, None, None]
    scaled = to_255(clips).flatten(1)
    torch.testing.assert_close(scaled.amin(1), torch.zeros(3))
    torch.testing.assert_close(scaled.amax(1), torch.full((3,), 255.0))


def test_over_the_batch_it_is_the_released_normalisation() -> None:
    clips = torch.randn(3, 2, 4, 5, 5)
    low, high = clips.min(), clips.max()
    torch.testing.assert_close(to_255(clips, "batch"), 255 * (clips - low) / (low - high))


def autograds(clips: Tensor) -> Tensor:
    """The same in plain steps, whose gradient is autograd's."""
    low, high = clips.amin((1, 2, 3), keepdim=True), clips.amax((1, 2, 3), keepdim=True)
    return 255 * (clips - low) / (high - low).clamp_min(torch.finfo(clips.dtype).tiny)


def gradients(clips: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """That of `to_255`, and autograd's."""
    x, y = clips.clone().requires_grad_(), clips.clone().requires_grad_()
    (to_255(x) * weights).sum().backward()
    (autograds(y) * weights).sum().backward()
    assert x.grad is not None and y.grad is not None
    return x.grad, y.grad


@pytest.mark.parametrize("ties", [False, True])
def test_the_gradient_is_that_of_autograd(ties: bool) -> None:
    clips = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    if ties:  # as behind a ReLU, or in saturated pixels: several are the least, or the greatest
        clips = clips.clamp(-0.5, 0.75)
    torch.testing.assert_close(*gradients(clips, torch.randn_like(clips)), rtol=1e-12, atol=1e-12)


def test_gradcheck() -> None:
    clips = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(to_255, clips)


def test_clips_that_are_constant_nearly_constant_or_broken_keep_to_themselves() -> None:
    clips = torch.randn(4, 2, 3, 4, dtype=torch.float64)
    weights = torch.randn_like(clips)
    alone, _ = gradients(clips[:1], weights[:1])
    clips[1] = 3.0
    weights[1] = 0.0  # the flow of a constant clip has no gradient
    clips[2] = 1e-310 * torch.arange(24, dtype=torch.float64).reshape(2, 3, 4)  # subnormal
    clips[3, 0, 0, 0] = torch.nan
    found, expected = gradients(clips, weights)
    assert torch.equal(found[:1], alone)
    assert not found[1:3].any()
    assert not to_255(clips)[1:3].any()
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-12, atol=1e-12)
    assert found[3].isnan().all() and expected[3].isnan().any()


@pytest.mark.parametrize("over", ["clip", "batch"])
@pytest.mark.parametrize("value", [0.0, 3.0, -1e-20, 1e20])
def test_a_span_of_rounding_is_0_and_has_no_gradient(over: Normalise, value: float) -> None:
    clips = torch.full((2, 2, 4, 5), value)
    clips[:, :, ::2] *= 1 + 8 * torch.finfo(clips.dtype).eps
    clips.requires_grad_()
    scaled = to_255(clips, over)
    (gradient,) = torch.autograd.grad((scaled * torch.randn_like(scaled)).sum(), clips)
    assert not scaled.any() and not gradient.any()


@pytest.mark.parametrize("over", ["clip", "batch"])
def test_a_number_that_overflowed_is_seen(over: Normalise) -> None:
    """In half precision a feature becomes infinite, which training has to notice."""
    clips = torch.randn(2, 2, 4, 5)
    clips[1, 0, 0, 0] = torch.inf
    assert to_255(clips, over)[1].isnan().any()


@pytest.mark.parametrize("kind", ["RepFlow", "Flow-of-Flow", "Flow-Conv-Flow"])
@pytest.mark.parametrize("still", ["held", "black"])
def test_a_still_clip_adds_nothing_to_the_gradient_of_ordinary_ones(kind: str, still: str) -> None:
    torch.manual_seed(0)
    layer: nn.Module = RepFlow(6, 4, 5)
    if kind != "RepFlow":
        layer = FlowStack(6, 2, convolve=kind == "Flow-Conv-Flow", bottleneck=4, n_iter=5)
    layer.eval()  # batch norm alone would make neighbours of the clips
    clips = torch.randn(3, 6, 5, 12, 12).relu()
    clips[1] = clips[1, :, :1] if still == "held" else 0
    weights = torch.randn_like(layer(clips))

    def found(chosen: list[int]) -> list[Tensor]:
        x = clips[chosen].requires_grad_()
        trained = [p for p in layer.parameters() if p.requires_grad]
        out = layer(x)
        gradients = torch.autograd.grad((out * weights[chosen]).sum(), [x, *trained])
        ordinary = [k for k, clip in enumerate(chosen) if clip != 1]
        return [out[ordinary], gradients[0][ordinary], *gradients[1:]]

    *mixed, bias = found([0, 1, 2])
    *alone, _ = found([0, 2])
    assert bias.isfinite().all()  # the batch norm's, which every clip has
    for a, b in zip(mixed, alone, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())


def test_a_black_clip_leaves_a_training_step_finite() -> None:
    """Batch norm in training hands a black clip a gradient, which a span of 0 made NaN."""
    torch.manual_seed(0)
    layer = RepFlow(6, 4, 5)
    clips = torch.randn(2, 6, 4, 8, 8).relu()
    clips[0] = 0
    out = layer(clips.requires_grad_())
    (out * torch.randn_like(out)).sum().backward()
    gradients = [clips.grad, *[p.grad for p in layer.parameters() if p.requires_grad]]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
