"""What a result says of its run: the device that trained, the time, the curve, the predictions."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.fabric.accelerators.mps import MPSAccelerator
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator

from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.errors import UserError
from repflow_pl.models.build import build_model
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec, late
from repflow_pl.training.costs.measure import kept_for_backward
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.planning.jobs import Job, left_to_do, run_folder
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.recording.predictions import PREDICTIONS, read_predictions
from repflow_pl.training.recording.result import Latency, RunResult, read_result, write_result
from repflow_pl.training.run import _kept_bytes, _trainer
from tests.sweeps import sweep

pytestmark = pytest.mark.long

CLIP = ClipSpec(frames=4, size=32, crop=(32, 32))
RECIPE = RecipeSpec(2, batch=8, lr=1e-3, optimiser="adamw", schedule="one_cycle")
FLOW = ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4))


@pytest.fixture(scope="module")
def videos(video_folder: Path, shared_cache: Path) -> Iterator[VideoSet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPFLOW_CACHE", str(shared_cache))
        yield open_set("folder", video_folder)


def job_of(videos: VideoSet, model: ModelSpec = FLOW) -> Job:
    return Job("t", "row", RunSpec(model, DataSpec("folder", CLIP, videos.fingerprint), RECIPE), 0)


def make(job: Job, videos: VideoSet, out: Path) -> tuple[Path, str]:
    """The run's folder, and what was printed."""
    _, printed = sweep([job], videos, out)
    return run_folder(out, job.spec, job.seed), printed


@pytest.fixture(scope="module")
def with_flow(videos: VideoSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run's results, for tests that only read it."""
    out = tmp_path_factory.mktemp("flow")
    make(job_of(videos), videos, out)
    return out


@pytest.fixture(scope="module")
def plain(videos: VideoSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a network without flow, for tests that copy it."""
    out = tmp_path_factory.mktemp("plain")
    make(job_of(videos, ModelSpec("narrow")), videos, out)
    return out


def folder_in(out: Path) -> Path:
    """That of the only run."""
    (folder,) = out.glob("runs/*/seed0")
    return folder


def test_a_result_is_of_the_device_that_trained(
    videos: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pretended: a network on "meta" runs without numbers. Lightning moves the network back to the
    CPU after a training on a GPU, as it does here."""
    test = L.Trainer.test

    def on_a_gpu(trainer: L.Trainer, *args: Any, **options: Any) -> None:
        test(trainer, *args, **options)
        trainer.strategy._root_device = torch.device("meta")

    monkeypatch.setattr(L.Trainer, "test", on_a_gpu)
    timed = []

    def latency(spec: RunSpec, module: VideoClassifier, *_: Any) -> Latency:
        timed.append(module.device.type)
        return Latency(1.0, 1.0, 1.0, 1.0, 0.0, 1)

    monkeypatch.setattr("repflow_pl.training.run._latency", latency)

    def noted(model: torch.nn.Module, *_: Any, **__: Any) -> int:
        timed.append(next(model.parameters()).device.type)
        return 1

    monkeypatch.setattr("repflow_pl.training.run.count_flops", noted)
    plain = ModelSpec("narrow")
    folder, printed = make(job_of(videos, plain), videos, tmp_path)
    assert read_result(folder / "result.json").device == "META", printed
    assert timed == ["meta", "meta"]


def test_the_memory_of_training_is_of_one_clip_and_changes_no_network(
    videos: VideoSet, with_flow: Path, tmp_path: Path
) -> None:
    """A late average trains nothing and has none."""
    shutil.copytree(with_flow, tmp_path, dirs_exist_ok=True)
    job = job_of(videos)
    kept = read_result(folder_in(tmp_path) / "result.json").kept_bytes
    clip = job.spec.data.clip
    network = build_model(job.spec.model, len(videos.classes))
    assert kept == kept_for_backward(network, [torch.zeros(1, 3, clip.frames, *clip.crop)])
    both = Job("t", "both", late(job.spec, job.spec), job.seed)
    folder, _ = make(both, videos, tmp_path)
    assert read_result(folder / "result.json").kept_bytes is None


def test_a_network_that_takes_batches_alone_has_its_result(videos: VideoSet) -> None:
    """Its last maps are of one place, of which batch norm is trained by several clips: the result
    of a whole training was lost to it."""
    module = VideoClassifier(job_of(videos, ModelSpec("s3d")).spec, 0, 2, 0, 1)
    assert _kept_bytes(module, (torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8),)) is None


def test_apples_gpu_is_left_alone(
    tmp_path: Path, videos: VideoSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    trainer = _trainer(job_of(videos), Machine(tmp_path), [], None)
    assert isinstance(trainer.accelerator, CPUAccelerator | CUDAAccelerator)


def test_validation_counts_once_in_the_time_of_training(
    videos: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation_step, fit = VideoClassifier.validation_step, L.Trainer.fit
    took = []

    def slow(module: VideoClassifier, *batch: Any) -> None:
        time.sleep(1)
        validation_step(module, *batch)

    def timed(trainer: L.Trainer, *args: Any, **options: Any) -> None:
        start = time.monotonic()
        fit(trainer, *args, **options)
        took.append(time.monotonic() - start)

    monkeypatch.setattr(VideoClassifier, "validation_step", slow)
    monkeypatch.setattr(L.Trainer, "fit", timed)
    folder, _ = make(job_of(videos), videos, tmp_path)
    assert 2 < read_result(folder / "result.json").train_seconds < took[0]


def test_predictions_and_curve_say_what_the_result_says(videos: VideoSet, with_flow: Path) -> None:
    folder = folder_in(with_flow)
    result = read_result(folder / "result.json")
    predictions = read_predictions(folder / PREDICTIONS)
    assert predictions.right.mean() == result.top1
    assert predictions.label.tolist() == [video.label for video in videos.part("test")]
    assert predictions.scores.sum(1) == pytest.approx(1, abs=0.002)
    with (folder / "curve.csv").open(newline="") as stream:
        epochs = list(csv.DictReader(stream))
    assert [epoch["epoch"] for epoch in epochs] == ["1", "2"]
    assert float(epochs[-1]["train_loss"]) == pytest.approx(result.train_loss, rel=1e-4)
    assert float(epochs[-1]["val_top1"]) == result.val_top1


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_training_that_is_not_finite_stops_and_names_its_clips(
    where: str, videos: VideoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second epoch, so that there are weights of before to keep."""
    step = VideoClassifier.training_step
    seen: list[int] = []

    def spoilt(module: VideoClassifier, batch: Any, index: int) -> torch.Tensor:
        loss = step(module, batch, index)
        if module.current_epoch == 0:
            return loss
        seen.extend(batch.index.tolist())
        factor = torch.nan
        if where == "loss":
            module._step = loss.detach() * factor, batch.index
        else:
            loss.register_hook(lambda gradient: gradient * factor)
        return loss

    monkeypatch.setattr(VideoClassifier, "training_step", spoilt)
    folder, printed = make(job_of(videos), videos, tmp_path)
    assert "the loss or its gradient is not finite in epoch 2, step 1" in printed
    train = videos.part("train")
    assert len(seen) == 8 and all(train[index].path in printed for index in seen)
    assert not (folder / "result.json").exists()
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


def test_a_last_step_that_overflows_is_no_result(videos: VideoSet, tmp_path: Path) -> None:
    """The only loss is that of the first weights, and finite."""
    job = job_of(videos, ModelSpec("narrow"))
    recipe = RecipeSpec(1, batch=16, lr=1e30)
    job = dataclasses.replace(job, spec=dataclasses.replace(job.spec, recipe=recipe))
    for _ in range(2):  # also where it goes on from its checkpoint
        folder, printed = make(job, videos, tmp_path)
        assert "the scores of 6 of 6 test videos, as test/left/0.mp4, are no numbers" in printed
        assert not (folder / "result.json").exists() and (folder / "last.ckpt").is_file()


def test_what_is_no_fraction_or_no_number_is_no_result(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    whole = json.loads((folder_in(plain) / "result.json").read_text())
    for name, value in (
        ("top1", float("nan")), ("top1", 50.0), ("clip_top5", -0.1), ("val_top1", float("inf")),
        ("train_loss", float("nan")), ("train_seconds", float("inf")),
        ("latency", {**whole["latency"], "ratio": float("nan")}),
    ):  # fmt: skip
        path.write_text(json.dumps({**whole, name: value}))
        with pytest.raises(UserError, match=rf"\({name}\b"):
            read_result(path)
    result = RunResult(**{**whole, "latency": None, "versions": None})
    with pytest.raises(ValueError, match="top1 is nan"):
        dataclasses.replace(result, top1=float("nan"))
    with pytest.raises(ValueError):
        write_result(tmp_path / "new.json", dataclasses.replace(result, test_seconds=float("nan")))
    assert not (tmp_path / "new.json").exists()


def test_a_member_whose_weights_are_gone_keeps_its_result(
    videos: VideoSet, plain: Path, tmp_path: Path
) -> None:
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    member = job_of(videos, ModelSpec("narrow"))
    folder = folder_in(tmp_path)
    path = folder / "result.json"
    before = path.read_text()
    (folder / "last.ckpt").unlink()
    (folder / PREDICTIONS).unlink()  # as of an older version
    fusion = dataclasses.replace(member, row="both", spec=late(member.spec, member.spec))

    # As where the training anew fails: nothing of what there was is lost.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoClassifier, "on_after_backward", lambda _: 1 / 0)
        assert sweep([member, fusion], videos, tmp_path)[0]
    assert path.read_text() == before

    assert [job.row for job in left_to_do(tmp_path, [member, fusion])] == ["row", "both"]
    assert not sweep([member, fusion], videos, tmp_path)[0]
    assert path.read_text() == before and (folder / "last.ckpt").is_file()
    assert (run_folder(tmp_path, fusion.spec, 0) / "result.json").is_file()


def test_late_fusion_without_weights_is_made_of_answers(
    videos: VideoSet, plain: Path, tmp_path: Path
) -> None:
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    members = [
        job_of(videos, model) for model in (ModelSpec("narrow"), ModelSpec("narrow", "grey"))
    ]
    folders = [make(member, videos, tmp_path)[0] for member in members]
    fusion = dataclasses.replace(members[0], row="both", spec=late(*(m.spec for m in members)))
    folder, _ = make(fusion, videos, tmp_path)
    by_weights, kept = read_result(folder / "result.json"), read_predictions(folder / PREDICTIONS)
    (folder / "result.json").unlink()
    (folders[1] / "last.ckpt").unlink()
    with pytest.MonkeyPatch.context() as patch:
        # No frame or field of a video is asked for but those that the plain network is timed on.
        patch.setattr("repflow_pl.launching.launch.open_streams", lambda *_: 1 / 0)
        patch.setattr("repflow_pl.data.module.ClipDataset", lambda *_, **__: 1 / 0)
        make(fusion, videos, tmp_path)

    assert not (folders[1] / "last.ckpt").exists()
    by_answers, found = read_result(folder / "result.json"), read_predictions(folder / PREDICTIONS)
    assert (found.rank == kept.rank).all() and abs(found.scores - kept.scores).max() < 0.00101
    assert by_weights.clip_top1 is not None and by_answers.clip_top1 is None
    for name in ("top1", "top5", "flops", "parameters", "videos_test", "videos_unread"):
        assert getattr(by_answers, name) == getattr(by_weights, name)

    (folder / "result.json").unlink()
    other = dataclasses.replace(read_result(folders[1] / "result.json"), fingerprint="of others")
    write_result(folders[1] / "result.json", other)
    _, printed = make(fusion, videos, tmp_path)
    assert "whose result in" in printed and "is of other videos" in printed
