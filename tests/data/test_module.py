from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from repflow_pl.data.clips import Batch
from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import ClipModule, worker_count
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

from .conftest import folder_of, refused

CLIP = ClipSpec(frames=4, size=32, crop=(24, 24))


def module(video_set: VideoSet, batch: int = 8, workers: int | None = None, ranks: int = 1):
    made = ClipModule(video_set, CLIP, ("rgb",), batch, seed=0, workers=workers)
    made.trainer = SimpleNamespace(world_size=ranks, num_devices=ranks, global_rank=0)
    return made


class Recorder(LightningModule):
    """Learns nothing and keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[int], torch.Tensor]] = []
        self.validated: list[int] = []

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.index.tolist(), batch.inputs[0]))
        return self.weight * 0

    def validation_step(self, batch: Batch, _: int) -> None:
        self.validated += batch.index.tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(video_set: VideoSet, workers: int | None) -> Recorder:
    recorder = Recorder()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(recorder, datamodule=ClipModule(video_set, CLIP, ("rgb",), 8, 0, workers))
    return recorder


@pytest.mark.long
@pytest.mark.usefixtures("kept_cache")
def test_the_same_clips_for_any_number_of_workers(shapes: VideoSet) -> None:
    alone = fit(shapes, None)
    assert [epoch for epoch, *_ in alone.seen] == [0] * 4 + [1] * 4
    for epoch in (0, 1):
        visited = [i for e, indices, _ in alone.seen if e == epoch for i in indices]
        assert sorted(visited) == list(range(32))
    assert alone.seen[0][1] != alone.seen[4][1]
    assert alone.validated == 2 * list(range(16))
    shared = fit(shapes, 2)
    for first, second in zip(alone.seen, shared.seen, strict=True):
        assert first[:2] == second[:2] and torch.equal(first[2], second[2])


@pytest.mark.usefixtures("kept_cache")
def test_the_same_clips_when_they_are_decoded(shapes: VideoSet, monkeypatch) -> None:
    clip = ClipSpec(frames=4, crop=(48, 56), jitter=(1.0, 1.3))

    def clips(workers: int) -> list[Batch]:
        made = ClipModule(shapes, clip, ("rgb",), 8, seed=0, workers=workers)
        made.trainer = SimpleNamespace(world_size=1, num_devices=1, global_rank=0)
        return list(made.train_dataloader())

    mapped = clips(0)
    monkeypatch.setattr("repflow_pl.data.streams.open_frames", open_decoded)
    for workers in (0, 2):
        for first, second in zip(mapped, clips(workers), strict=True):
            assert torch.equal(first.index, second.index)
            assert torch.equal(first.inputs[0], second.inputs[0])


@pytest.mark.usefixtures("kept_cache")
def test_a_device_takes_its_share(shapes: VideoSet) -> None:
    loaders = module(shapes, batch=8, ranks=4)
    assert loaders.train_dataloader().batch_size == 2
    assert len(loaders.train_dataloader()) == 4
    assert loaders.test_dataloader().batch_size == 1
    with refused("among 3 processes or GPUs: make a run"):
        module(shapes, batch=8, ranks=3).train_dataloader()


@pytest.mark.usefixtures("kept_cache")
def test_workers_where_frames_are_decoded(shapes: VideoSet, monkeypatch) -> None:
    assert module(shapes).train_dataloader().num_workers == 0
    monkeypatch.setattr("repflow_pl.data.streams.open_frames", open_decoded)
    monkeypatch.setattr("joblib.cpu_count", lambda: 12)
    loader = module(shapes).train_dataloader()
    assert loader.num_workers == 12 and loader.timeout > 0
    assert module(shapes, ranks=4).train_dataloader().num_workers == 3, "of one machine's cores"


@pytest.mark.parametrize(
    "cores, kept, on_gpu, workers",
    [
        (1, True, False, 0),
        (8, True, False, 0),
        (1, True, True, 1),  # a GPU never waits for the process that feeds it
        (8, True, True, 2),
        (0, False, False, 1),  # more processes than cores
        (8, False, True, 8),
        (64, False, True, 16),
    ],
)
def test_workers_for_a_training(cores: int, kept: bool, on_gpu: bool, workers: int) -> None:
    assert worker_count(cores, kept, on_gpu) == workers


def open_decoded(video_set: VideoSet, clip: ClipSpec, kept: bool):
    from repflow_pl.data.frames.cache import open_frames

    return open_frames(video_set, clip, kept=False)


def test_prepare_leaves_nothing_to_do(few: VideoSet, cache: Path) -> None:
    both = ClipModule(few, CLIP, ("rgb", "tvl1"), 2, 0)
    both.prepare_data()
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.u8")}
    assert len(files) == 2
    both.prepare_data()
    next(iter(both.train_dataloader()))
    assert files == {path: path.stat().st_mtime_ns for path in cache.rglob("*.u8")}


def test_a_set_without_a_validation_part(tmp_path: Path) -> None:
    loaders = module(folder_of(tmp_path / "set", 2), batch=2)
    assert loaders.val_dataloader() == []
    with refused("batch of 9 is larger"):
        module(loaders.video_set, batch=9).train_dataloader()


def test_impossible_clips_are_refused_at_once(shapes: VideoSet) -> None:
    with pytest.raises(UserError, match="flip"):
        ClipModule(shapes, ClipSpec(flip=True), ("rgb",), 8, 0)
