"""Videos become clips: which frames, which pixels, mirrored or not, as uint8 tensors.

What is drawn at random is a function of (seed, epoch, index) and nothing else. So the same seed
gives the same clips whatever the number of workers or devices, and a resumed run goes on with the
clips that it would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.frames.cache import prepared_shape
from repflow_pl.data.frames.reader import Frames
from repflow_pl.data.index import Split, VideoSet
from repflow_pl.data.parallel import console
from repflow_pl.data.sampler import Draw
from repflow_pl.data.streams import open_streams
from repflow_pl.data.transforms import (
    Window,
    cut_fields,
    cut_frames,
    mirror_fields,
    spread,
)
from repflow_pl.data.views import (
    FEWER,
    check_clip,
    frame_indices,
    nothing,
    view_starts,
    window_size,
)
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, DataStream

FEW_LOST = 10
LOST_SHARE = 0.01
"""A run goes on without this share of a part's videos, or without this few, in each of its workers;
beyond that the disk is at fault, not the files."""

Made = TypeVar("Made")

Found = Iterator[Frames | Exception]
"""What was read of clips one after the other, or why it could not be."""


class Sample(NamedTuple):
    """One video's views."""

    inputs: tuple[Tensor, ...]
    """uint8 [V, C, T, H, W] each, V views x crops: RGB frames (C = 3), fields of motion (C = 2,
    T one fewer), fields of fields (C = 4, T two fewer)."""
    label: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    """Place of the video in its part."""
    unread: bool = False
    """The video cannot be read any more, and these views are black."""


class Batch(NamedTuple):
    """The samples of several videos."""

    inputs: tuple[Tensor, ...]
    """uint8 [B, V, C, T, H, W] each; in memory the channels come last, as in frames."""
    facts: Tensor
    """int64 [B, 3]: label, index, unread. One tensor, for each costs as much as a small clip's
    pixels on its way out of a loader's worker."""

    @property
    def label(self) -> Tensor:
        """int64 [B]."""
        return self.facts[:, 0]

    @property
    def index(self) -> Tensor:  # type: ignore[override]  # hides tuple.index
        """int64 [B], as of `Sample`."""
        return self.facts[:, 1]

    @property
    def unread(self) -> Tensor:
        """bool [B], as of `Sample`."""
        return self.facts[:, 2].bool()


class _Clip(NamedTuple):
    """What to read of a video, and what to make of it."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    times: list[int]
    """Frames, in the order in which they are shown."""
    windows: Sequence[Window]
    """One for each crop."""
    mirrored: bool


class ClipDataset(Dataset[Sample]):
    """The clips of one part of a data set.

    In training an item is one view: a random start, a random crop, enlarged by a random factor of
    `clip.jitter`, mirrored half of the time where `clip.flip` says so. In evaluation it is
    `clip.views` views, spread uniformly over the video, with `clip.crops` crops of each.

    Args:
        streams: what a view holds, in this order: `rgb` frames, fields of motion.
        seed: of the random draws of training.
        kept: whether prepared frames and fields are kept in the cache for the next time.

    Errors: UserError as `check_clip` says.
    """

    def __init__(
        self,
        video_set: VideoSet,
        split: Split,
        clip: ClipSpec,
        streams: Sequence[DataStream] = ("rgb",),
        training: bool = False,
        seed: int = 0,
        kept: bool = True,
    ) -> None:
        check_clip(video_set, clip, streams)
        self.videos = video_set.part(split)
        self.clip = clip
        self.streams = streams
        self.training = training
        self.seed = seed
        self.lost: set[int] = set()
        """Videos of which a clip could not be read, in whatever epoch."""
        self.readers = open_streams(video_set, clip, streams, kept)

    @property
    def cached(self) -> bool:
        """Whether clips come from memory-mapped files: to read them costs next to nothing."""
        return all(reader.cache is not None for reader in self.readers.values())

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The sample of a video; an index alone means epoch 0."""
        inputs, facts = self.__getitems__([draw])
        label, index, unread = facts[0].tolist()
        return Sample(tuple(views[0] for views in inputs), label, index, bool(unread))

    def __getitems__(self, draws: Sequence[Draw | int]) -> Batch:
        """A batch, as a loader asks for it: a clip is decoded while another is put in its place."""
        pairs = [(draw, 0) if isinstance(draw, int) else draw for draw in draws]
        drawn = [self._draw(index, epoch) for index, epoch in pairs]
        found = self._read([clip for clips in drawn for clip in clips])
        inputs: tuple[Tensor, ...] = ()
        facts = []
        for place, ((index, epoch), clips) in enumerate(zip(pairs, drawn, strict=True)):
            views, error = self._views(clips, found)
            unread = error is not None and not self.training
            if error is not None:
                index, views = self._instead(index, epoch, error)
            # Made only now, when the next clip is being decoded.
            inputs = inputs or tuple(_room(len(pairs), len(views), view) for view in views[0])
            for whole, part in zip(inputs, zip(*views, strict=True), strict=True):
                for target, view in zip(whole[place], part, strict=True):
                    target.copy_(view)
            facts.append((self.videos[index].label, index, unread))
        return Batch(inputs, torch.tensor(facts))

    def _draw(self, index: int, epoch: int) -> list[_Clip]:
        return [self._training_clip(index, epoch)] if self.training else self._test_clips(index)

    def _read(self, clips: Sequence[_Clip]) -> list[Found]:
        """What each stream has of clips, in order."""
        return [
            self.readers[stream].stream(
                [(self.videos[c.index], c.times[: len(c.times) - FEWER[stream]]) for c in clips]
            )
            for stream in self.streams
        ]

    def _views(
        self, clips: Sequence[_Clip], found: Sequence[Found]
    ) -> tuple[list[tuple[Tensor, ...]], Exception | None]:
        """The views of a video's clips, which are next in `found`, or the error of one."""
        views = []
        failed = None
        for clip in clips:
            whole = []
            for frames in [next(stream) for stream in found]:
                if isinstance(frames, DecodeError):
                    failed = frames
                elif isinstance(frames, Exception):
                    raise frames
                else:
                    whole.append(frames)
            if failed is None:
                views += self._made(clip, whole)
        return views, failed

    def _instead(
        self, index: int, epoch: int, error: Exception
    ) -> tuple[int, list[tuple[Tensor, ...]]]:
        """What stands in for a clip that could be read when the set was checked, and now cannot.

        In training the next video that can be read; in evaluation black views of the video itself,
        so that it counts, and counts as an error.
        Errors: UserError where too many videos are lost for this to be a few bad files, or all.
        """
        video = self.videos[index]
        told = " ".join(str(error).split())
        console.print(f"{video.path}: this clip is left out, {told}")
        self.lost.add(index)
        few = max(FEW_LOST, LOST_SHARE * len(self.videos))
        if len(self.lost) > min(few, len(self.videos) - 1):
            raise UserError(
                f"{len(self.lost)} videos could not be read, {video.path} the last one ({told}); "
                "check the disk and run python -m repflow_pl.data verify again."
            ) from error
        if self.training:
            other = (index + 1) % len(self.videos)
            clips = self._draw(other, epoch)
            views, again = self._views(clips, self._read(clips))
            return (other, views) if again is None else self._instead(other, epoch, again)
        view = tuple(nothing(stream, self.clip) for stream in self.streams)
        return index, [view] * self.clip.clips_per_video

    def _training_clip(self, index: int, epoch: int) -> _Clip:
        clip = self.clip
        video = self.videos[index]
        rng = np.random.default_rng([self.seed, epoch, index])
        span = clip.offsets(video.fps)[-1] + 1
        start = int(rng.integers(max(video.frames - span, 0) + 1))
        height, width = prepared_shape(video, clip)
        size = clip.crop
        if clip.jitter != (1.0, 1.0):
            size = window_size(height, width, clip.crop, rng.uniform(*clip.jitter))
        top = int(rng.integers(height - size[0] + 1))
        left = int(rng.integers(width - size[1] + 1))
        mirrored = bool(rng.integers(2)) and clip.flip
        return self._clip(index, start, [Window(top, left, *size)], mirrored, rng)

    def _test_clips(self, index: int) -> list[_Clip]:
        clip = self.clip
        video = self.videos[index]
        windows = spread(*prepared_shape(video, clip), clip.crop, clip.crops)
        return [
            # The shuffled control is the same for every seed: it is part of the test.
            self._clip(index, start, windows, False, np.random.default_rng([index, view]))
            for view, start in enumerate(view_starts(video.frames, clip, video.fps))
        ]

    def _clip(
        self,
        index: int,
        start: int,
        windows: Sequence[Window],
        mirrored: bool,
        rng: np.random.Generator,
    ) -> _Clip:
        video = self.videos[index]
        times = frame_indices(start, video.frames, self.clip, video.fps)
        if self.clip.order == "shuffled":
            times = rng.permutation(times)
        return _Clip(index, times.tolist(), windows, mirrored)

    def _made(self, clip: _Clip, whole: Sequence[Frames]) -> list[tuple[Tensor, ...]]:
        """The streams of one clip, [C, T, H, W] each, once for every window."""
        size = self.clip.crop
        crops: list[tuple[Tensor, ...]] = [()] * len(clip.windows)
        for stream, frames in zip(self.streams, map(_channels_first, whole), strict=True):
            for k, window in enumerate(clip.windows):
                part = (cut_frames if stream == "rgb" else cut_fields)(frames, window, size)
                if clip.mirrored:
                    part = part.flip(-1) if stream == "rgb" else mirror_fields(part)
                crops[k] += (part,)
        return [tuple(part.transpose(0, 1) for part in crop) for crop in crops]


def collate(batch: Made) -> Made:
    """A loader's `collate_fn`: what `ClipDataset` gives it is a batch already."""
    return batch


def _room(samples: int, views: int, view: Tensor) -> Tensor:
    """Memory for [samples, views, C, T, H, W] of views like this one, not filled.

    In a loader's worker it is memory shared with the training's process, so that a batch is not
    copied once more. The channels come last, as in frames: to bring them to the front takes ten
    times as long as to copy rows, and is left to the device, in `to_float`.
    """
    channels, frames, height, width = view.shape
    shape = (samples, views, frames, height, width, channels)
    room = torch.empty(0, dtype=torch.uint8)
    if get_worker_info() is not None:
        room.set_(torch.UntypedStorage._new_shared(math.prod(shape)))
    return room.resize_(shape).movedim(-1, 2)


def _channels_first(array: npt.NDArray[np.uint8]) -> Tensor:
    """[T, h, w, C] as a tensor [T, C, h, w], not copied."""
    return torch.from_numpy(array).permute(0, 3, 1, 2)
