"""The picture of the flow field."""

from __future__ import annotations

import pytest
import torch
from torchvision.utils import flow_to_image

from repflow_pl.models.build import build_model
from repflow_pl.specs import FlowSpec, ModelSpec
from repflow_pl.training.following.pictures import flow_pictures


def test_shows_the_frame_beside_the_flow() -> None:
    model = build_model(ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4)), 3)
    clips = torch.rand(2, 3, 4, 32, 48) * 2 - 1
    pictures = flow_pictures(model, clips)
    assert [p.shape for p in pictures] == [(3, 32, 96)] * 2
    frame = ((clips[0, :, 0] + 1) * 127.5).round().to(torch.uint8)
    assert torch.equal(pictures[0][:, :, :48], frame)
    assert model.training


def test_motion_has_the_colour_of_its_direction() -> None:
    """On the RGB input a texture that moves right is drawn in the wheel's colour of right."""
    model = build_model(ModelSpec("narrow", flow=FlowSpec(0)), 3)
    wave = torch.sin(torch.arange(64) * 2 * torch.pi / 16)
    frames = torch.stack([wave.roll(t).expand(64, 64) for t in range(3)])
    picture = flow_pictures(model, frames.expand(1, 3, 3, 64, 64))[0][:, 8:-8, 72:-8].float()
    right, left = (
        flow_to_image(torch.tensor([dx, 0.0])[:, None, None])[:, 0, 0].float() for dx in (1.0, -1.0)
    )
    mean = picture.mean((1, 2))
    assert (mean - right).norm() < (mean - left).norm()


def test_a_network_without_flow_has_no_picture() -> None:
    with pytest.raises(ValueError, match="no flow layer"):
        flow_pictures(build_model(ModelSpec("narrow"), 3), torch.zeros(1, 3, 2, 32, 32))
