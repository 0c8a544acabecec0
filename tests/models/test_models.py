"""Classifiers: placements, the stack of fields, two streams."""

from __future__ import annotations

import dataclasses
import math
from itertools import product

import pytest
import torch
from torch import nn

from repflow_pl.errors import UserError
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.models.build import build_model
from repflow_pl.models.streams import FieldStack, LateFusion
from repflow_pl.profiles import demo_profile
from repflow_pl.specs import DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec, late, streams_of

pytestmark = pytest.mark.usefixtures("seeded")


PLAIN = ("narrow", "resnet18")
VOLUMETRIC = ("narrow3d", "narrow2plus1d", "s3d_narrow", "i3d_narrow", "nonlocal_narrow")


@pytest.mark.parametrize(
    ("name", "block"),
    [*product(PLAIN, (None, *range(6))), *product(VOLUMETRIC, (None, 0, 3, 5))],
)
def test_every_placement_gives_scores_and_learns(name: str, block: int | None) -> None:
    flow = None if block is None else FlowSpec(block, n_iter=2, bottleneck=4)
    model = build_model(ModelSpec(name, flow=flow), classes=7)
    scores = model(torch.randn(2, 3, 3 if name in PLAIN else 8, 64, 64))
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key


def test_the_flow_layer_sits_behind_its_block() -> None:
    model = build_model(ModelSpec("narrow", flow=FlowSpec(3, n_iter=1, bottleneck=4)), classes=2)
    seen = []
    model.flow.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    model(torch.randn(1, 3, 4, 64, 64))
    block = model.backbone.block(3)
    assert seen == [(1, block.channels, 4, 64 // block.stride, 64 // block.stride)]


def test_a_still_clip_shows_flow_networks_nothing() -> None:
    """With flow on the RGB input, two different still pictures are the same clip."""
    model = build_model(ModelSpec("narrow", flow=FlowSpec(0)), classes=5).eval()
    still = torch.rand(2, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1)
    scores = model(still)
    torch.testing.assert_close(scores[0], scores[1])


def test_the_plain_network_ignores_the_order_of_frames() -> None:
    model = build_model(ModelSpec("narrow"), classes=5).eval()
    clip = torch.rand(1, 3, 6, 32, 32)
    torch.testing.assert_close(model(clip), model(clip.flip(2)), rtol=1e-4, atol=1e-5)


def test_field_stack_averages_the_scores_of_all_windows() -> None:
    model = build_model(ModelSpec("narrow", stream="tvl1", stack=3), classes=4).eval()
    assert isinstance(model, FieldStack)
    fields = torch.randn(2, 2, 5, 32, 32)
    windows = [fields[:, :, k : k + 3].transpose(1, 2).flatten(1, 2) for k in range(3)]
    expected = torch.stack([model.classifier(w[:, :, None]) for w in windows]).mean(0)
    torch.testing.assert_close(model(fields), expected, rtol=1e-4, atol=1e-5)


def test_field_stack_needs_enough_fields() -> None:
    model = build_model(ModelSpec("narrow", stream="tvl1", stack=6), classes=4)
    with pytest.raises(UserError, match="needs longer clips; these have 5"):
        model(torch.randn(1, 2, 5, 32, 32))


def run_of(model: ModelSpec) -> RunSpec:
    return RunSpec(model, DataSpec("motion_shapes"), RecipeSpec(epochs=1, batch=2, lr=0.1))


def test_late_fusion_averages_class_probabilities() -> None:
    rgb, tvl1 = ModelSpec("narrow"), ModelSpec("narrow", stream="tvl1", stack=3)
    flow = ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4))
    fused = late(run_of(tvl1), run_of(rgb), run_of(flow))
    model = build_model(fused.model, classes=4).eval()
    assert isinstance(model, LateFusion)
    assert streams_of(fused.model) == ("tvl1", "rgb")
    clip, fields = torch.randn(2, 3, 5, 32, 32), torch.randn(2, 2, 4, 32, 32)
    inputs = (fields, clip, clip)
    members = zip(model.members, inputs, strict=True)
    expected = sum(member(x).softmax(1) for member, x in members) / 3
    torch.testing.assert_close(model(fields, clip).softmax(1), expected)


def test_late_fusion_in_mixed_precision_ties_no_classes() -> None:
    """On a CPU the mean was in bfloat16 as the scores are: the first two classes had the same."""
    fused = LateFusion([nn.Identity(), nn.Identity()], [[0], [1]])
    first = torch.tensor([[1.0, 0.0, 0.0]]).bfloat16()
    second = torch.tensor([[0.0, 0.984375, 0.0]]).bfloat16()
    expected = (first.double().softmax(1) + second.double().softmax(1)).log() - math.log(2)
    with torch.autocast("cpu", torch.bfloat16):
        joined = fused(first, second)
    assert joined[0, 0] > joined[0, 1]
    torch.testing.assert_close(joined.double(), expected, rtol=1e-5, atol=1e-6)


STRUCTURES = {
    "FoF": FlowSpec(3, n_iter=2, bottleneck=4, layers=2),
    "FcF": FlowSpec(3, n_iter=2, bottleneck=4, layers=2, convolve=True),
    "FcFcF": FlowSpec(3, n_iter=2, bottleneck=4, layers=3, convolve=True),
    "released FcF": FlowSpec(3, n_iter=2, bottleneck=4, layers=2, convolve=True, residual=True),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_gives_scores_and_learns(name: str) -> None:
    model = build_model(ModelSpec("narrow", flow=STRUCTURES[name]), classes=3)
    stack = next(m for m in model.modules() if isinstance(m, FlowStack))
    torch.nn.init.ones_(stack.norm.weight)  # the residual's starts at 0, which hides the rest
    model(torch.randn(2, 3, 5, 64, 64)).square().sum().backward()
    for key, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("fuse", ["add", "multiply", "concat"])
@pytest.mark.parametrize("block", [0, 1, 3])
def test_every_fusion_sees_appearance_too(fuse: str, block: int) -> None:
    """Two still clips, which the flow alone cannot tell apart (see above)."""
    flow = FlowSpec(block, n_iter=2, bottleneck=4, fuse=fuse)  # type: ignore[arg-type]
    model = build_model(ModelSpec("narrow", flow=flow), classes=5)
    for _ in range(2):  # batch norm of the flow must not be zero for "multiply"
        model(torch.rand(4, 3, 4, 32, 32))
    still = torch.rand(2, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1)
    scores = model.eval()(still)
    assert not torch.allclose(scores[0], scores[1])


def test_stacks_of_one_field_are_of_one_field_of_fields_too() -> None:
    """Which has one fewer otherwise, and had none."""
    profile = dataclasses.replace(demo_profile("motion_shapes"), stack=1)
    model = build_model(profile.tvl1_twice(DataSpec("motion_shapes")).model, classes=4)
    assert model(torch.randn(2, 4, 3, 32, 32)).shape == (2, 4)


def test_fields_of_fields_go_in_as_stacks_of_four_channels() -> None:
    model = build_model(ModelSpec("narrow", stream="tvl1_twice", stack=3), classes=4)
    assert model(torch.randn(2, 4, 5, 32, 32)).shape == (2, 4)
