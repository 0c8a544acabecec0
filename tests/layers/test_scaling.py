import pytest
import torch
from torch import Tensor

from repflow_pl.layers.scaling import to_255


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
    clips[2] = 1e-309 * torch.arange(24).reshape(2, 3, 4)  # less than the least normal number
    weights[2] *= 1e-20
    clips[3, 0, 0, 0] = torch.nan
    found, expected = gradients(clips, weights)
    assert torch.equal(found[:1], alone)
    assert not found[1].any()
    torch.testing.assert_close(found[:3], expected[:3], rtol=1e-12, atol=1e-12)
    assert found[3].isnan().all() and expected[3].isnan().any()
