"""The event files that a training writes, read back by TensorBoard itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repflow_pl.data.index import VideoSet
from repflow_pl.launching.order import from_json, order_of, to_json
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec, to_dict
from repflow_pl.training.following.tensorboard import event_folder
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.recording.curve import CURVE, read_curve
from repflow_pl.training.recording.result import read_result
from tests.sweeps import sweep

events = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
)
EPOCHS = 3


@pytest.fixture
def job(videos: VideoSet) -> Job:
    clip = ClipSpec(frames=4, size=32, crop=(32, 32))
    data = DataSpec("folder", clip, videos.fingerprint)
    model = ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4))
    return Job("places", "After block 3 / x", RunSpec(model, data, RecipeSpec(EPOCHS, 4, 1e-3)), 1)


def make(job: Job, videos: VideoSet, out: Path, tensorboard: bool = True) -> Path:
    assert sweep([job], videos, out, tensorboard=tensorboard)[0] == []
    return run_folder(out, job.spec, job.seed)


@pytest.mark.long
def test_event_files_say_what_the_curve_says(
    job: Job, videos: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = VideoClassifier.training_step
    stops = [(1, 2)]

    def stopped(module: VideoClassifier, batch: Any, index: int) -> Any:
        if (module.current_epoch, index) in stops:
            stops.clear()
            raise KeyboardInterrupt
        return step(module, batch, index)

    monkeypatch.setattr(VideoClassifier, "training_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        make(job, videos, tmp_path)
    run = make(job, videos, tmp_path)
    (folder,) = (tmp_path / "tensorboard" / "places").iterdir()
    assert folder == event_folder(tmp_path, job)
    assert folder.name.startswith("After_block_3_x-seed1-")

    found = events.EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()
    curve = read_curve(run / CURVE)
    steps = [16 // 4 * epoch for epoch in range(1, EPOCHS + 1)]
    for name in ("train_loss", "train_top1", "val_loss", "val_top1"):
        logged = found.Scalars(name.replace("_", "/", 1))
        assert [event.step + 1 for event in logged] == steps, "both times of the run, none twice"
        expected = [getattr(epoch, name) for epoch in curve]
        assert [event.value for event in logged] == pytest.approx(expected, rel=1e-4)
    assert {"flow/theta", "flow/lambda", "flow/tau"} <= set(found.Tags()["scalars"])
    (top1,) = found.Scalars("test/top1")
    assert top1.value == pytest.approx(read_result(run / "result.json").top1)
    (last,) = (image for image in found.Images("flow/field") if image.step == steps[-1])
    assert (last.width, last.height) == (4 * 2 * 32, 32), "frame and field of four clips"
    text = found.Tensors("spec/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(text.strip("`\n")) == json.loads(json.dumps(to_dict(job.spec)))


@pytest.mark.long
def test_a_run_ends_alike_without_them(job: Job, videos: VideoSet, tmp_path: Path) -> None:
    with_them, without = make(job, videos, tmp_path / "a"), make(job, videos, tmp_path / "b", False)
    assert not (tmp_path / "b" / "tensorboard").exists()
    assert (with_them / CURVE).read_bytes() == (without / CURVE).read_bytes()
    one, other = (read_result(folder / "result.json") for folder in (with_them, without))
    assert (one.top1, one.train_loss) == (other.top1, other.train_loss)
    assert np.isfinite(one.train_loss)


def test_other_processes_are_told(job: Job, videos: VideoSet, tmp_path: Path) -> None:
    machine = Machine(tmp_path, tensorboard=True)
    order = order_of(job, [job], [videos], machine, runs_after=0)
    assert from_json(to_json(order)).tensorboard
    plain = dataclasses.replace(machine, tensorboard=False)
    assert not from_json(to_json(order_of(job, [job], [videos], plain, 0))).tensorboard
