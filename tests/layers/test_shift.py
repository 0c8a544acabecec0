"""The temporal shift against a loop over channels and frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from repflow_pl.layers.shift import temporal_shift


def slow_shift(clip: Tensor) -> Tensor:
    """Channel by channel and frame by frame, from the text of Lin et al."""
    _, channels, frames, _, _ = clip.shape
    out = torch.zeros_like(clip)
    for c in range(channels):
        step = 1 if c < channels // 8 else -1 if c < 2 * (channels // 8) else 0
        for t in range(frames):
            if 0 <= t + step < frames:
                out[:, c, t] = clip[:, c, t + step]
    return out


@pytest.mark.parametrize("channels", [3, 8, 16, 20])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_it_is_the_slow_loop(channels: int, frames: int) -> None:
    clip = torch.randn(2, channels, frames, 3, 4)
    assert torch.equal(temporal_shift(clip), slow_shift(clip))


def test_a_gradient_goes_back_to_the_frame_that_it_came_from() -> None:
    clip = torch.randn(1, 16, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(temporal_shift, clip)


def test_frames_of_a_shifted_clip_are_a_view() -> None:
    """As those of a clip that came from `per_frame`, in the layout of 2D convolutions."""
    images = torch.randn(6, 16, 4, 4).to(memory_format=torch.channels_last)
    clip = images.unflatten(0, (2, 3)).transpose(1, 2)
    shifted = temporal_shift(clip)
    frames = shifted.transpose(1, 2).flatten(0, 1)
    assert frames.data_ptr() == shifted.data_ptr()
    assert frames.is_contiguous(memory_format=torch.channels_last)
