"""Videos become clips: which frames, which pixels, mirrored or not, as uint8 tensors.

What is drawn at random is a function of (seed, epoch, index) and nothing else. So the same seed
gives the same clips whatever the number of workers or devices, and a resumed run goes on with the
clips that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from repflow_pl.data.cache import open_frames, prepared_shape
from repflow_pl.data.decode_pyav import DecodeError
from repflow_pl.data.index import Split, VideoSet
from repflow_pl.data.isolated import Lost
from repflow_pl.data.parallel import console
from repflow_pl.data.tvl1 import ZERO, open_fields
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, Stream

FEW_LOST = 10
LOST_SHARE = 0.01
"""A run goes on without this share of a part's clips, or without this few in each of its workers;
beyond that the disk is at fault, not the files."""

Draw = tuple[int, int]
"""(index of the video in its part, epoch)."""


class Sample(NamedTuple):
    """One video's views."""

    inputs: tuple[Tensor, ...]
    """uint8 [V, C, T, H, W] each: RGB frames (C = 3) or TV-L1 fields (C = 2, T one fewer)."""
    label: int
    index: int  # type: ignore[assignment]  # hides tuple.index
    """Place of the video in its part."""


class Batch(NamedTuple):
    """Samples on top of one another."""

    inputs: tuple[Tensor, ...]
    """uint8 [B, V, C, T, H, W] each."""
    label: Tensor
    """int64 [B]."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    """int64 [B]."""


class ClipDataset(Dataset[Sample]):
    """The clips of one part of a data set.

    In training an item is one view: a random start, a random crop, mirrored half of the time where
    `clip.flip` says so. In evaluation it is `clip.views` views, spread uniformly over the video,
    centre crop.

    Streams: `rgb` gives (frames,), `tvl1` gives (fields,), `two_stream` gives (frames, fields).

    Args:
        seed: of the random draws of training.

    Errors: UserError as `check_clip` says.
    """

    def __init__(
        self,
        video_set: VideoSet,
        split: Split,
        clip: ClipSpec,
        stream: Stream = "rgb",
        training: bool = False,
        seed: int = 0,
    ) -> None:
        check_clip(video_set, clip, stream)
        self.videos = video_set.part(split)
        self.clip = clip
        self.stream = stream
        self.training = training
        self.seed = seed
        self.frames = open_frames(video_set, clip)
        self.lost = 0
        self.fields = None if stream == "rgb" else open_fields(video_set, clip)

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The sample of a video; an index alone means epoch 0."""
        index, epoch = (draw, 0) if isinstance(draw, int) else draw
        try:
            views = self._views(index, epoch)
        except (DecodeError, Lost) as error:
            index, views = self._instead(index, epoch, error)
        inputs = tuple(torch.stack(stream) for stream in zip(*views, strict=True))
        return Sample(inputs, self.videos[index].label, index)

    def _views(self, index: int, epoch: int) -> list[tuple[Tensor, ...]]:
        return [self._training_view(index, epoch)] if self.training else self._test_views(index)

    def _instead(
        self, index: int, epoch: int, error: Exception
    ) -> tuple[int, list[tuple[Tensor, ...]]]:
        """What stands in for a clip that could be read when the set was checked, and now cannot.

        In training the next video that can be read; in evaluation black views of the video itself,
        so that it counts, and most likely counts as an error.
        Errors: UserError where too many clips are lost for this to be a few bad files.
        """
        video = self.videos[index]
        told = " ".join(str(error).split())
        console.print(f"{video.path}: this clip is left out, {told}", markup=False)
        self.lost += 1
        if self.lost > max(FEW_LOST, LOST_SHARE * len(self.videos)):
            raise UserError(
                f"{self.lost} clips could not be read, {video.path} the last of them ({told}); "
                "check the disk and run python -m repflow_pl.data verify again."
            ) from error
        if self.training:
            other = (index + 1) % len(self.videos)
            try:
                return other, self._views(other, epoch)
            except (DecodeError, Lost) as again:
                return self._instead(other, epoch, again)
        size = (self.clip.frames, *self.clip.crop)
        frames = torch.zeros((3, *size), dtype=torch.uint8)
        fields = torch.full((2, size[0] - 1, *size[1:]), ZERO, dtype=torch.uint8)
        view = {"rgb": (frames,), "tvl1": (fields,), "two_stream": (frames, fields)}[self.stream]
        return index, [view] * self.clip.views

    def _training_view(self, index: int, epoch: int) -> tuple[Tensor, ...]:
        clip = self.clip
        video = self.videos[index]
        rng = np.random.default_rng([self.seed, epoch, index])
        start = int(rng.integers(max(video.frames - clip.span, 0) + 1))
        height, width = prepared_shape(video, clip)
        top = int(rng.integers(height - clip.crop[0] + 1))
        left = int(rng.integers(width - clip.crop[1] + 1))
        mirrored = bool(rng.integers(2)) and clip.flip
        return self._view(index, start, (top, left), mirrored, rng)

    def _test_views(self, index: int) -> list[tuple[Tensor, ...]]:
        clip = self.clip
        video = self.videos[index]
        height, width = prepared_shape(video, clip)
        corner = (height - clip.crop[0]) // 2, (width - clip.crop[1]) // 2
        return [
            # The shuffled control is the same for every seed: it is part of the test.
            self._view(index, start, corner, False, np.random.default_rng([index, view]))
            for view, start in enumerate(view_starts(video.frames, clip))
        ]

    def _view(
        self,
        index: int,
        start: int,
        corner: tuple[int, int],
        mirrored: bool,
        rng: np.random.Generator,
    ) -> tuple[Tensor, ...]:
        video = self.videos[index]
        times = frame_indices(start, video.frames, self.clip)
        if self.clip.order == "shuffled":
            times = rng.permutation(times)
        streams = []
        if self.stream != "tvl1":
            pixels = _window(self.frames.frames(video, times.tolist()), corner, self.clip.crop)
            streams.append(mirror_frames(pixels) if mirrored else pixels)
        if self.fields is not None:
            fields = _window(self.fields.fields(video, times[:-1].tolist()), corner, self.clip.crop)
            streams.append(mirror_fields(fields) if mirrored else fields)
        return tuple(
            torch.from_numpy(np.ascontiguousarray(stream.transpose(3, 0, 1, 2)))
            for stream in streams
        )


class EpochSampler(DistributedSampler[Draw]):
    """Yields (index, epoch), this process's share.

    Step k of all ranks together takes the same videos for every number of ranks: a global batch is
    a run of the epoch's order, dealt out in turn. It is a DistributedSampler by name only, so that
    Lightning calls `set_epoch` and does not put its own in the place.

    Args:
        videos: length of the part.
        shuffle: a new order each epoch, a function of (seed, epoch), and what does not fill all
            ranks is dropped; else the order of the part, padded with its first videos until all
            ranks have as many.
    """

    def __init__(
        self, videos: int, shuffle: bool, seed: int = 0, ranks: int = 1, rank: int = 0
    ) -> None:
        super().__init__(
            range(videos),  # type: ignore[arg-type]
            num_replicas=ranks,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=shuffle,
        )
        self.videos = videos

    def __iter__(self) -> Iterator[Draw]:
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.videos)
        else:
            order = np.arange(self.videos)
        padded = np.resize(order, self.total_size)
        return ((int(index), self.epoch) for index in padded[self.rank :: self.num_replicas])


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples to a batch."""
    streams = zip(*(sample.inputs for sample in samples), strict=True)
    return Batch(
        tuple(torch.stack(stream) for stream in streams),
        torch.tensor([sample.label for sample in samples]),
        torch.tensor([sample.index for sample in samples]),
    )


def check_clip(video_set: VideoSet, clip: ClipSpec, stream: Stream = "rgb") -> None:
    """Refuse clips that the set cannot give, before anything is computed.

    Errors: UserError for mirroring where left and right are classes, shuffled flow, flow of one
    frame, videos smaller than a crop, and videos shorter than a clip unless it may hold.
    """
    name = video_set.name
    if clip.flip and not video_set.mirror_safe:
        raise UserError(f"{name}: mirrored clips may change their class here; set flip to false.")
    if stream != "rgb" and clip.order == "shuffled":
        raise UserError(
            f"{name}: shuffled frames have no TV-L1 fields; the shuffled control is for 'rgb' only."
        )
    if stream != "rgb" and clip.frames < 2:
        raise UserError(f"{name}: TV-L1 needs clips of two frames or more, not {clip.frames}.")
    for video in video_set.videos:
        height, width = prepared_shape(video, clip)
        if height < clip.crop[0] or width < clip.crop[1]:
            raise UserError(
                f"{name}: {video.path} is {height} x {width} pixels (height x width) after "
                f"resizing, smaller than the crop of {clip.crop[0]} x {clip.crop[1]}; "
                "take a larger size or a smaller crop."
            )
    short = [video for video in video_set.videos if video.frames < clip.span]
    if short and clip.short == "refuse":
        others = f", as do {len(short) - 1} others" if len(short) > 1 else ""
        raise UserError(
            f"{name}: {short[0].path} has {short[0].frames} frames, fewer than the {clip.span} "
            f"that a clip of {clip.frames} frames at stride {clip.stride} spans{others}; "
            "take fewer frames, a smaller stride, or short='hold' to repeat the last frame."
        )


def frame_indices(start: int, frames: int, clip: ClipSpec) -> npt.NDArray[np.int64]:
    """The frames of a clip, [clip.frames]; the video's last frame is held beyond its end."""
    return np.minimum(start + clip.stride * np.arange(clip.frames), frames - 1)


def view_starts(frames: int, clip: ClipSpec) -> list[int]:
    """First frames of the evaluation's views: from the first possible to the last, evenly.

    One view alone lies in the middle.
    """
    last = max(frames - clip.span, 0)
    if clip.views == 1:
        return [last // 2]
    return [round(view * last / (clip.views - 1)) for view in range(clip.views)]


def mirror_frames(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """[..., h, w, c], left and right exchanged."""
    mirrored: npt.NDArray[np.uint8] = frames[..., ::-1, :]
    return mirrored


def mirror_fields(fields: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """[..., h, w, 2], left and right exchanged, and with them the sign of the flow in x."""
    mirrored: npt.NDArray[np.uint8] = fields[..., ::-1, :].copy()
    mirrored[..., 0] = 2 * ZERO - mirrored[..., 0].astype(np.int16)
    return mirrored


def _window(
    array: npt.NDArray[np.uint8], corner: tuple[int, int], crop: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Crop [t, h, w, c] to `crop` from `corner` on."""
    (top, left), (height, width) = corner, crop
    return array[:, top : top + height, left : left + width]
