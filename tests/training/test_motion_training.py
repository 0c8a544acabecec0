"""Other representations of motion in the trainer: groups, costs, what training and tests load."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from repflow_pl.data.clips import Batch
from repflow_pl.data.floats import to_float
from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import ClipModule
from repflow_pl.launching.launch import check, prepare
from repflow_pl.models.build import build_model
from repflow_pl.ops import flow_flops
from repflow_pl.specs import (
    ActionFlowNetSpec,
    ClipSpec,
    DataSpec,
    ModelSpec,
    Motion,
    MotionFilterSpec,
    OFFSpec,
    RecipeSpec,
    RunSpec,
    TVNetSpec,
    streams_of,
    training_streams_of,
)
from repflow_pl.training.costs.measure import count_flops, measure_latency
from repflow_pl.training.module import VideoClassifier, parameter_groups
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.recording.result import RunResult
from repflow_pl.training.run import run

FLOWNET = ActionFlowNetSpec(width=8)
MOTIONS = [TVNetSpec(2, 1, 2), OFFSpec(4, 2, 8), MotionFilterSpec(), FLOWNET]
CLIP = ClipSpec(frames=4, size=32, crop=(32, 32))


def spec(motion: Motion, epochs: int = 1) -> RunSpec:
    recipe = RecipeSpec(epochs, batch=8, lr=1e-3, optimiser="adamw", schedule="one_cycle")
    model = ModelSpec("narrow", motion=motion, dropout=0.3, stack=2)
    return RunSpec(model, DataSpec("folder", CLIP), recipe)


def module(motion: Motion) -> VideoClassifier:
    return VideoClassifier(spec(motion), seed=0, classes=3, videos_val=2, videos_test=2)


def batch(motion: Motion, views: int = 1) -> Batch:
    """Two videos as training loads them; with fields where the motion asks for them."""
    frames = torch.randint(0, 256, (2, views, 3, 4, 32, 32), dtype=torch.uint8)
    fields = torch.randint(100, 156, (2, views, 2, 3, 32, 32), dtype=torch.uint8)
    inputs = (frames, fields) if motion is FLOWNET else (frames,)
    return Batch(inputs, torch.tensor([[0, 0, 0], [2, 1, 0]]))


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_training_step_of_every_network(motion: Motion) -> None:
    net = module(motion)
    loss = net.training_step(batch(motion, views=2), 0)
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())
    assert net.train_loss.compute().item() == pytest.approx(loss.item())


def test_the_auxiliary_loss_is_there_in_training_alone() -> None:
    net, given = module(FLOWNET).eval(), batch(FLOWNET)
    rgb_alone = given._replace(inputs=given.inputs[:1])
    net.validation_step(rgb_alone, 0)
    entropy = net.val_accuracy.compute().loss
    with torch.no_grad():
        scores = net(*(stream[:, 0] for stream in rgb_alone.inputs))
        assert entropy is not None
        assert entropy == pytest.approx(F.cross_entropy(scores, given.label).item(), rel=1e-4)
        assert net.training_step(given, 0).item() > entropy + 0.1
    net.test_step(rgb_alone, 0)


def test_the_auxiliary_loss_is_in_pixels_of_the_fields() -> None:
    net, given = module(FLOWNET).eval(), batch(FLOWNET)
    with torch.no_grad():
        torch.nn.init.zeros_(net.model.predict[-1].weight)
        torch.nn.init.zeros_(net.model.predict[-1].bias)
        loss = net.training_step(given, 0)
        scores = net(given.inputs[0][:, 0])
    fields = to_float(given.inputs[1][:, 0]).transpose(1, 2).flatten(0, 1)
    error = F.avg_pool2d(fields, 4).norm(dim=1).mean()
    expected = F.cross_entropy(scores, given.label) + error
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)


def test_tvnet_learns_at_the_rate_of_flow_parameters() -> None:
    model = build_model(spec(MOTIONS[0]).model, classes=3)
    assert isinstance(model, nn.Sequential)
    network, flow = parameter_groups(model, lr=0.1, flow_lr=0.001)
    assert {id(p) for p in flow["params"]} == {id(p) for p in model.tvnet.parameters()}
    assert {id(p) for p in network["params"]} == {id(p) for p in model.stack.parameters()}


def test_tvnets_iterations_are_counted() -> None:
    model, clip = build_model(spec(TVNetSpec(1, 1, 5)).model, 3), torch.randn(1, 3, 4, 32, 32)
    assert isinstance(model, nn.Sequential)
    smoothing = 2 * (5 + 5) * 4 * 32 * 32 + 2 * 5 * 4 * (36 * 32 - 32 * 32)  # rows, then columns
    without = count_flops(model.stack, (torch.randn(1, 2, 3, 32, 32),))
    warp = 29 * 3 * 32 * 32
    assert count_flops(model, (clip,)) == without + smoothing + flow_flops(3, 32, 32, 5) + warp


@pytest.mark.parametrize("motion", MOTIONS)
def test_costs_are_those_of_rgb_alone(motion: Motion) -> None:
    model = build_model(spec(motion).model, classes=3)
    clip = (torch.randn(1, 3, 4, 32, 32),)
    assert count_flops(model, clip) > 0
    latency = measure_latency(model, clip, build_model(ModelSpec("narrow"), 3), clip, repeats=3)
    assert latency.tvl1_ms == 0 and latency.median_ms > 0


@pytest.mark.long
def test_fields_are_loaded_to_train_and_not_to_test(videos: VideoSet) -> None:
    model = spec(FLOWNET).model
    data = ClipModule(
        videos, CLIP, streams_of(model), 8, 0, train_streams=training_streams_of(model)
    )
    shapes = [
        [tuple(stream.shape[2:4]) for stream in next(iter(loader)).inputs]
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    ]
    assert shapes == [[(3, 4), (2, 3)], [(3, 4)], [(3, 4)]]


def test_differences_are_taken_of_the_frames_that_rgb_sees() -> None:
    assert streams_of(ModelSpec("narrow", stream="rgb_diff")) == ("rgb",)


def result_of(out: Path, videos: VideoSet, run_spec: RunSpec) -> RunResult:
    job = Job("motion", "row", run_spec, seed=0)
    check([job], videos)
    prepare([job], videos, out)
    return run(job, videos, Machine(out), "row", runs_after=0)


def numbers(result: RunResult) -> dict[str, object]:
    """All but what a clock decides."""
    found = dataclasses.asdict(result)
    return {k: v for k, v in found.items() if k not in ("latency", "train_seconds", "test_seconds")}


@pytest.mark.long
@pytest.mark.parametrize("motion", MOTIONS, ids=lambda motion: motion.kind)
def test_a_stopped_run_ends_with_the_numbers_of_an_undisturbed_one(
    motion: Motion, videos: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_spec = spec(motion, epochs=2)
    undisturbed = result_of(tmp_path / "undisturbed", videos, run_spec)
    assert undisturbed.latency.tvl1_ms == 0 and undisturbed.videos_test == 6

    def stop_in_the_second_epoch(self: VideoClassifier) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(VideoClassifier, "on_train_epoch_start", stop_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            result_of(tmp_path / "stopped", videos, run_spec)
    assert list((tmp_path / "stopped").rglob("last.ckpt"))
    resumed = result_of(tmp_path / "stopped", videos, run_spec)
    assert numbers(resumed) == numbers(undisturbed)
