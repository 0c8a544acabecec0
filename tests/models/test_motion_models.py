"""The networks with other representations of motion: scores, what learns, what they see."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from repflow_pl.errors import UserError
from repflow_pl.models.actionflownet import ActionFlowNet, end_point_error
from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.models.off import OFFNet
from repflow_pl.models.streams import FieldStack, FrameDifferences, GreyFrames
from repflow_pl.specs import (
    ActionFlowNetSpec,
    FlowSpec,
    ModelSpec,
    Motion,
    MotionFilterSpec,
    OFFSpec,
    Stream,
    TVNetSpec,
    streams_of,
    training_streams_of,
)

TVNET = TVNetSpec(scales=2, n_iter=2)
OFF = OFFSpec(temporal=4, spatial=2, width=8)
FILTER = MotionFilterSpec()
FLOWNET = ActionFlowNetSpec(width=8)
CASES: list[tuple[Motion | None, Stream]] = [
    (TVNET, "rgb"),
    (OFF, "rgb"),
    (OFF, "tvl1"),
    (OFF, "rgb_diff"),
    (FILTER, "rgb"),
    (FLOWNET, "rgb"),
    (None, "rgb_diff"),
    (None, "grey"),
]

pytestmark = pytest.mark.usefixtures("seeded")


def spec(motion: Motion | None, stream: Stream = "rgb", backbone: str = "narrow") -> ModelSpec:
    return ModelSpec(backbone, stream, motion=motion, dropout=0.0, stack=2)


def inputs(spec: ModelSpec, training: bool) -> tuple[torch.Tensor, ...]:
    """What the model is given: two clips of four frames, and/or their fields."""
    of = {"rgb": torch.randn(2, 3, 4, 64, 64), "tvl1": torch.randn(2, 2, 3, 64, 64)}
    return tuple(of[s] for s in (training_streams_of(spec) if training else streams_of(spec)))


@pytest.mark.long
@pytest.mark.parametrize("backbone", ["narrow", "resnet18"])
@pytest.mark.parametrize(("motion", "stream"), CASES)
def test_every_network_gives_scores_and_all_of_it_learns(
    motion: Motion | None, stream: Stream, backbone: str
) -> None:
    made = spec(motion, stream, backbone)
    model = build_model(made, classes=7)
    assert model(*inputs(made, training=False)).shape == (2, 7)
    scores, loss = training_loss(model, inputs(made, training=True), torch.tensor([0, 3]))
    assert scores.shape == (2, 7)
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad and parameter.grad is not None, key
        assert parameter.grad.isfinite().all() and (parameter.grad != 0).any(), key


@pytest.mark.long
@pytest.mark.parametrize("backbone", ["resnet34", "resnet50"])
@pytest.mark.parametrize(("motion", "stream"), CASES)
def test_every_backbone_will_do(motion: Motion | None, stream: Stream, backbone: str) -> None:
    made = spec(motion, stream, backbone)
    with torch.device("meta"):
        model, given = build_model(made, classes=5), inputs(made, training=False)
    assert model(*given).shape == (2, 5)


@pytest.mark.parametrize("motion", [TVNET, OFF, FILTER, FLOWNET])
def test_they_see_which_way_time_runs(motion: Motion) -> None:
    model = build_model(spec(motion), classes=5).eval()
    clip = torch.rand(1, 3, 4, 32, 32)
    assert (model(clip) - model(clip.flip(2))).abs().max() > 1e-4


@pytest.mark.parametrize(("motion", "stream"), [(TVNET, "rgb"), (None, "rgb_diff")])
def test_two_still_pictures_are_the_same_clip(motion: Motion | None, stream: Stream) -> None:
    """Where motion is all that a network sees."""
    model = build_model(spec(motion, stream), classes=5).eval()
    scores = model(torch.rand(2, 3, 1, 32, 32).expand(-1, -1, 4, -1, -1))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-5)


def test_differences_are_each_frame_less_the_one_before() -> None:
    model = build_model(spec(None, "rgb_diff"), classes=5).eval()
    assert isinstance(model, FrameDifferences)
    clip = torch.rand(1, 3, 3, 32, 32)
    differences = torch.stack([clip[:, :, 1] - clip[:, :, 0], clip[:, :, 2] - clip[:, :, 1]], 2)
    torch.testing.assert_close(model(clip), model.classifier(differences))
    with pytest.raises(UserError, match="two frames"):
        model(clip[:, :, :1])


def test_grey_frames_tell_brightness_alone() -> None:
    made = dataclasses.replace(spec(None, "grey"), flow=FlowSpec(0, n_iter=2))
    model = build_model(made, classes=5).eval()
    assert isinstance(model, GreyFrames) and streams_of(made) == ("rgb",)
    clip = torch.rand(1, 3, 3, 32, 32)
    brightness = 0.299 * clip[:, 0] + 0.587 * clip[:, 1] + 0.114 * clip[:, 2]
    same = brightness[:, None].expand(-1, 3, -1, -1, -1).contiguous()
    torch.testing.assert_close(model(clip), model.classifier(same))
    torch.testing.assert_close(model(same), model(clip), rtol=1e-4, atol=1e-5)


def test_tvnet_feeds_its_fields_to_the_flow_network() -> None:
    model = build_model(spec(TVNET), classes=5).eval()
    assert isinstance(model, nn.Sequential) and isinstance(model.stack, FieldStack)
    clip = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(model(clip), model.stack(model.tvnet(clip)))
    assert (model.tvnet.scales, model.tvnet.warps, model.tvnet.n_iter) == (2, 1, 2)


def test_off_is_the_mean_of_its_classifiers_and_each_learns_on_its_own() -> None:
    model = build_model(spec(OFF), classes=5)
    assert isinstance(model, OFFNet)
    clip, labels = torch.rand(2, 3, 3, 64, 64), torch.tensor([1, 4])
    every = model.all_scores(clip)
    assert len(every) == 4, "the backbone's and one behind each of the last three blocks"
    torch.testing.assert_close(model(clip), torch.stack(every).mean(0))
    scores, loss = training_loss(model, (clip,), labels)
    torch.testing.assert_close(scores, torch.stack(every).mean(0))
    torch.testing.assert_close(loss, sum(F.cross_entropy(s, labels) for s in every) / 4)


def test_off_of_the_first_levels_does_not_see_the_last_block() -> None:
    model = build_model(spec(OFF), classes=5).eval()
    assert isinstance(model, OFFNet)
    clip = torch.rand(1, 3, 3, 64, 64)
    before = model.all_scores(clip)
    with torch.no_grad():
        next(model.backbone.stages[-1].parameters()).add_(1)
    changed = [not torch.equal(a, b) for a, b in zip(before, model.all_scores(clip), strict=True)]
    assert changed == [True, False, False, True]


def test_actionflownet_is_tested_on_rgb_alone() -> None:
    model = build_model(spec(FLOWNET), classes=5).eval()
    clip = torch.rand(2, 3, 4, 32, 32)
    before = model(clip)
    with torch.no_grad():
        for parameter in [*model.laterals.parameters(), *model.predict.parameters()]:
            parameter.fill_(float("nan"))
    assert torch.equal(model(clip), before), "the decoder has no part in the scores"


def test_actionflownets_loss_is_cross_entropy_and_weighted_end_point_error() -> None:
    clip, fields = torch.rand(2, 3, 4, 32, 32), torch.randn(2, 2, 3, 32, 32)
    labels = torch.tensor([0, 2])
    model = build_model(spec(ActionFlowNetSpec(flow_weight=0.5, width=8)), classes=5).eval()
    assert isinstance(model, ActionFlowNet)
    scores, loss = training_loss(model, (clip, fields), labels)
    predicted = model.predict_flow(clip)
    assert predicted.shape == (2, 2, 3, 8, 8)
    teacher = fields.unflatten(3, (8, 4)).unflatten(5, (8, 4)).mean((4, 6))
    error = (predicted - teacher).norm(dim=1).mean()
    torch.testing.assert_close(scores, model(clip))
    torch.testing.assert_close(
        loss, F.cross_entropy(scores, labels) + 0.5 * error, rtol=1e-4, atol=0
    )


def test_end_point_error_of_a_known_offset_and_of_none() -> None:
    fields = torch.randn(3, 2, 8, 8)
    offset = torch.tensor([3.0, 4.0])[:, None, None]
    assert end_point_error(fields + offset, fields).item() == pytest.approx(5, rel=1e-5)
    predicted = fields.clone().requires_grad_()
    end_point_error(predicted, fields).backward()
    assert predicted.grad is not None and (predicted.grad == 0).all()


def translations(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clips of noise that moves 2 pixels right or left, their true fields, their class."""
    labels = torch.arange(count) % 2
    steps = torch.where(labels == 0, 2, -2)
    coarse = torch.rand(count, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    clips = torch.stack(
        [
            torch.stack([picture.roll(t * int(step), 2) for t in range(3)], 1)
            for picture, step in zip(coarse, steps, strict=True)
        ]
    )
    fields = torch.zeros(count, 2, 2, 32, 32)
    fields[:, 0] = steps[:, None, None, None]
    return 2 * clips - 1, fields, labels


@pytest.mark.long
def test_actionflownet_learns_the_flow_of_a_translation() -> None:
    model = build_model(spec(FLOWNET), classes=2)
    assert isinstance(model, ActionFlowNet)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    clips, fields, labels = translations(16)
    for step in range(40):
        _, loss = training_loss(model, (clips, fields), labels)
        if step == 0:
            first = loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.3 * first
    with torch.no_grad():
        predicted = model.predict_flow(clips)
    right = predicted[labels == 0, 0].mean().item()
    left = predicted[labels == 1, 0].mean().item()
    assert (right, left) == (pytest.approx(2, abs=0.5), pytest.approx(-2, abs=0.5))


@pytest.mark.parametrize("motion", [TVNET, FLOWNET])
def test_what_needs_frames_takes_no_fields(motion: Motion) -> None:
    with pytest.raises(ValueError, match="rgb stream"):
        spec(motion, "tvl1")


def test_a_model_has_one_representation_of_motion() -> None:
    with pytest.raises(ValueError, match="one representation of motion"):
        ModelSpec("narrow", flow=FlowSpec(3), motion=OFF)


def test_only_actionflownet_needs_fields_to_train() -> None:
    for motion in (TVNET, OFF, FILTER):
        assert training_streams_of(spec(motion)) == ("rgb",)
    assert training_streams_of(spec(FLOWNET)) == ("rgb", "tvl1")
    assert streams_of(spec(FLOWNET)) == ("rgb",)


def test_motion_of_whole_clips_is_refused() -> None:
    with pytest.raises(UserError, match="off is for 2D backbones, and 'narrow3d' sees whole"):
        build_model(spec(OFF, backbone="narrow3d"), classes=2)


@pytest.mark.parametrize("still", ["held", "black"])
@pytest.mark.parametrize(
    ("motion", "stream"), [*CASES, (TVNetSpec(warps=5, n_iter=5), "rgb"), (None, "tvl1")]
)
def test_a_still_clip_does_not_rule_the_gradient(
    motion: Motion | None, stream: Stream, still: str
) -> None:
    made = spec(motion, stream)
    texture = F.interpolate(torch.rand(4, 3, 8, 8), size=64, mode="bilinear")
    clips = 2 * torch.stack([texture.roll(t, 3) for t in range(4)], 2) - 1
    fields = torch.randn(4, 2, 3, 64, 64)
    clips[0] = clips[0, :, :1] if still == "held" else 0
    fields[0] = 0
    of, labels = {"rgb": clips, "tvl1": fields}, torch.arange(4)
    norms = []
    for chosen in ([0, 1, 2, 3], [1, 2, 3]):
        torch.manual_seed(0)
        model = build_model(made, classes=4)
        given = [of[s][chosen] for s in training_streams_of(made)]
        training_loss(model, given, labels[chosen])[1].backward()
        parameters = [p.grad for p in model.parameters() if p.grad is not None]
        norms.append(torch.stack([gradient.norm() for gradient in parameters]).norm().item())
    mixed, ordinary = norms
    assert mixed < 3 * ordinary
