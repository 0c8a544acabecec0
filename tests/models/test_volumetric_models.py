"""Classifiers of volumetric backbones: placements, TV-L1 clips, two streams."""

from __future__ import annotations

import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.models.build import build_model
from repflow_pl.models.placement import ClipClassifier
from repflow_pl.specs import FlowSpec, ModelSpec
from repflow_pl.training.costs.measure import count_flops

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize(("name", "frames"), [("narrow3d", 8), ("i3d_narrow", 8), ("i3d", 4)])
def test_the_flow_layer_sees_the_frames_that_its_block_leaves(name: str, frames: int) -> None:
    with torch.device("meta"):
        model = build_model(ModelSpec(name, flow=FlowSpec(3, n_iter=1)), classes=2)
    assert isinstance(model, ClipClassifier) and model.flow is not None
    seen: list[torch.Size] = []

    def stop(_: object, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0].shape)
        raise StopIteration

    model.flow.register_forward_pre_hook(stop)
    with pytest.raises(StopIteration):
        model(torch.empty(1, 3, 8, 64, 64, device="meta"))
    block = model.backbone.block(3)
    side = 64 // block.stride
    assert seen == [(1, block.channels, frames, side, side)]


def test_a_block_that_leaves_one_frame_is_refused() -> None:
    model = build_model(ModelSpec("i3d_narrow", flow=FlowSpec(5, n_iter=1)), classes=2)
    with pytest.raises(UserError, match="needs 2 frames or more there, and this clip has 1"):
        model(torch.randn(1, 3, 4, 64, 64))


def test_tvl1_fields_are_a_clip_of_two_channels() -> None:
    """Whatever the stack: a volumetric network sees all fields in their order."""
    model = build_model(ModelSpec("narrow3d", stream="tvl1", stack=10), classes=4).eval()
    assert isinstance(model, ClipClassifier)
    fields = torch.randn(2, 2, 7, 64, 64)
    scores = model(fields)
    assert scores.shape == (2, 4)
    assert not torch.allclose(scores, model(fields.flip(2)), rtol=1e-2)


def test_volumetric_networks_take_fields_as_a_clip() -> None:
    """And fields of fields, which have two channels more."""
    for stream, channels in (("tvl1", 2), ("tvl1_twice", 4)):
        model = build_model(ModelSpec("s3d_narrow", stream=stream), classes=4)
        assert model(torch.randn(2, channels, 7, 64, 64)).shape == (2, 4)


def test_asking_whether_a_backbone_is_volumetric_draws_no_weights() -> None:
    """Else the seed of a 2D network on TV-L1 fields would mean other weights than before."""
    before = torch.get_rng_state()
    build_model(ModelSpec("narrow", stream="tvl1"), classes=2)
    drawn = torch.get_rng_state()
    torch.set_rng_state(before)
    from repflow_pl.backbones import build_backbone

    ClipClassifier(build_backbone("narrow", 20), 2, 0.3)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_operations_of_a_nonlocal_block_are_counted() -> None:
    """Two products of all positions with a quarter of them, beside the convolutions."""
    from repflow_pl.backbones.nonlocal_block import NonLocal

    positions, channels = 2 * 4 * 4, 6
    convolutions = 4 * 2 * channels * channels // 2 * positions
    products = 2 * 2 * positions * (positions // 4) * (channels // 2)
    x = torch.randn(1, channels, 2, 4, 4)
    assert count_flops(NonLocal(channels), (x,)) == convolutions + products
