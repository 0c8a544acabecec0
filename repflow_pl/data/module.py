"""The LightningDataModule: a data set's parts as batches of clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from repflow_pl.data.clips import ClipDataset, Sample, collate
from repflow_pl.data.index import Split, VideoSet
from repflow_pl.data.sampler import EpochSampler
from repflow_pl.data.share import check_ranks
from repflow_pl.data.views import check_clip
from repflow_pl.ending import outlive_signals
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, DataStream

TIMEOUT = 1800
"""Seconds after which a silent worker is given up. A decoder that hangs is ended long before, by
`Reader`; this is for what nobody thought of."""
MOST_WORKERS = 16
COPYING = 2
"""Workers beside a GPU where frames are kept: they only copy, while the training's own process
would have the GPU wait."""


@dataclass(frozen=True)
class Place:
    """How far a training has come: so many batches of this epoch are done."""

    epoch: int
    batches: int


def check_batch(video_set: VideoSet, batch: int) -> None:
    """Errors: UserError where there are fewer videos to train on than a batch has."""
    videos = len(video_set.part("train"))
    if videos < batch:
        raise UserError(
            f"{video_set.name}: a batch of {batch} is larger than the training part of {videos} "
            f"videos; add videos, or take a smaller batch, as --recipe.batch {max(1, videos // 2)}."
        )


def worker_count(cores: int, kept: bool, on_gpu: bool) -> int:
    """Processes that load for one that trains, which has so many cores of its machine.

    Args:
        kept: frames are memory-mapped. A training on a CPU then reads them itself: to send them
            between processes costs more.
    """
    if kept and not on_gpu:
        return 0
    return max(1, min(cores, COPYING if kept else MOST_WORKERS))


def lost_a_worker(error: Exception) -> bool:
    """Whether something ended a process that loads, as a machine without memory does. PyTorch has
    no error of its own for that, only words."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


class ClipModule(LightningDataModule):
    """Loads the clips of `video_set`.

    Args:
        streams: which inputs a batch has, see `ClipDataset`.
        batch: videos per training step on all devices together; each device takes its share.
        seed: of the order of the videos and of the clips that are drawn from them.
        workers: processes that load, for each process that trains; None as `worker_count` says.
        train_streams: which inputs a training batch has, where it needs more than an evaluation's.

    Errors: UserError as `check_clip` says; when the loaders are asked for, where the batch does not
    divide by the devices or is larger than the training part.
    """

    def __init__(
        self,
        video_set: VideoSet,
        clip: ClipSpec,
        streams: Sequence[DataStream],
        batch: int,
        seed: int,
        workers: int | None = None,
        train_streams: Sequence[DataStream] | None = None,
    ) -> None:
        super().__init__()
        train_streams = train_streams or streams
        check_clip(video_set, clip, streams)
        check_clip(video_set, clip, train_streams)
        self.video_set = video_set
        self.clip = clip
        self.streams, self.train_streams = streams, train_streams
        self.batch = batch
        self.seed = seed
        self.workers = workers
        self.resumed = Place(epoch=0, batches=0)

    def prepare_data(self) -> None:
        """Decode into the cache and compute TV-L1 where this was not done yet, with all cores.

        Lightning's hook: one process per node prepares, the others wait.
        """
        self._dataset("test")
        self._dataset("train", training=True)

    def train_dataloader(self) -> DataLoader[Sample]:
        """One random view per video, complete batches only."""
        check_batch(self.video_set, self.batch)
        check_ranks([self.batch], self._ranks())
        dataset = self._dataset("train", training=True)
        return self._loader(dataset, self.batch // self._ranks())

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """All views of the validation part; an empty list where the set has none."""
        dataset = self._dataset("val")
        return self._loader(dataset, self._evaluation_batch()) if len(dataset) else []

    def test_dataloader(self) -> DataLoader[Sample]:
        """All views of the test part."""
        return self._loader(self._dataset("test"), self._evaluation_batch())

    def state_dict(self) -> dict[str, int]:
        """Lightning's hook: the place at which a resumed training is to go on."""
        assert self.trainer is not None
        epoch, batches = self.trainer.current_epoch, self.trainer.fit_loop.batch_idx + 1
        place = Place(epoch + 1, 0) if self.trainer.is_last_batch else Place(epoch, batches)
        return dataclasses.asdict(place)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Lightning's hook: a checkpoint's state, before the loaders are asked for."""
        self.resumed = Place(**state_dict)

    def _dataset(self, split: Split, training: bool = False) -> ClipDataset:
        streams = self.train_streams if training else self.streams
        return ClipDataset(self.video_set, split, self.clip, streams, training, self.seed)

    def _evaluation_batch(self) -> int:
        """Videos per device whose views together are about a training batch."""
        return max(1, self.batch // (self._ranks() * self.clip.clips_per_video))

    def _ranks(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _loader(self, dataset: ClipDataset, batch: int) -> DataLoader[Sample]:
        rank = self.trainer.global_rank if self.trainer else 0
        sampler = EpochSampler(len(dataset), dataset.training, self.seed, self._ranks(), rank)
        if dataset.training:
            sampler.begin_at(self.resumed.epoch, self.resumed.batches * batch)
        workers = self.workers
        if workers is None:
            cores = joblib.cpu_count() // (self.trainer.num_devices if self.trainer else 1)
            workers = worker_count(cores, dataset.cached, torch.cuda.is_available())
        return DataLoader(
            dataset,
            batch_size=batch,
            sampler=sampler,
            drop_last=dataset.training,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            timeout=TIMEOUT if workers else 0,
            persistent_workers=workers > 0,
            worker_init_fn=_begin_worker,
        )


def _begin_worker(worker: int) -> None:
    outlive_signals()
