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

from repflow_pl.data.cache import DecodedFrames, open_frames, prepared_shape
from repflow_pl.data.index import Split, Video, VideoSet
from repflow_pl.data.tvl1 import ZERO, open_fields
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, DataStream

Draw = tuple[int, int]
"""(index of the video in its part, epoch)."""


class Sample(NamedTuple):
    """One video's views."""

    inputs: tuple[Tensor, ...]
    """uint8 [V, C, T, H, W] each: RGB frames (C = 3), TV-L1 fields (C = 2, T one fewer),
    fields of fields (C = 4, T two fewer)."""
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

    Args:
        streams: what a view holds, in this order: `rgb` frames, `tvl1` fields, fields of fields.
        seed: of the random draws of training.

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
    ) -> None:
        check_clip(video_set, clip, streams)
        self.videos = video_set.part(split)
        self.clip = clip
        self.streams = streams
        self.training = training
        self.seed = seed
        self.frames = open_frames(video_set, clip)
        self.fields = {
            stream: open_fields(video_set, clip, twice=stream == "tvl1_twice")
            for stream in streams
            if stream != "rgb"
        }

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The sample of a video; an index alone means epoch 0."""
        index, epoch = (draw, 0) if isinstance(draw, int) else draw
        views = [self._training_view(index, epoch)] if self.training else self._test_views(index)
        inputs = tuple(torch.stack(part) for part in zip(*views, strict=True))
        return Sample(inputs, self.videos[index].label, index)

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
        corner = _centre(video, clip)
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
        parts = []
        for stream in self.streams:
            if stream == "rgb":
                part = _window(self.frames.frames(video, times.tolist()), corner, self.clip.crop)
                parts.append(mirror_frames(part) if mirrored else part)
            else:
                starts = times[: -1 if stream == "tvl1" else -2].tolist()
                fields = self.fields[stream].fields(video, starts)
                part = _window(fields, corner, self.clip.crop)
                parts.append(mirror_fields(part) if mirrored else part)
        return tuple(
            torch.from_numpy(np.ascontiguousarray(part.transpose(3, 0, 1, 2))) for part in parts
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
    inputs = zip(*(sample.inputs for sample in samples), strict=True)
    return Batch(
        tuple(torch.stack(views) for views in inputs),
        torch.tensor([sample.label for sample in samples]),
        torch.tensor([sample.index for sample in samples]),
    )


def check_clip(
    video_set: VideoSet, clip: ClipSpec, streams: Sequence[DataStream] = ("rgb",)
) -> None:
    """Refuse clips that the set cannot give, before anything is computed.

    Errors: UserError for mirroring where left and right are classes, shuffled flow, flow of one
    frame, videos smaller than a crop, and videos shorter than a clip unless it may hold.
    """
    name = video_set.name
    if clip.flip and not video_set.mirror_safe:
        raise UserError(f"{name}: mirrored clips may change their class here; set flip to false.")
    with_fields = any(stream != "rgb" for stream in streams)
    if with_fields and clip.order == "shuffled":
        raise UserError(
            f"{name}: shuffled frames have no TV-L1 fields; the shuffled control is for 'rgb' only."
        )
    needed = 3 if "tvl1_twice" in streams else 2
    if with_fields and clip.frames < needed:
        raise UserError(
            f"{name}: TV-L1 needs clips of {needed} frames or more here, not {clip.frames}."
        )
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


def one_clip(video_set: VideoSet, clip: ClipSpec) -> npt.NDArray[np.uint8]:
    """The first view of the first test video, [T, H, W, 3], with no other video prepared.

    Errors: UserError as `check_clip` says, of clips with TV-L1 fields.
    """
    check_clip(video_set, clip, ("rgb", "tvl1"))
    video = video_set.part("test")[0]
    times = frame_indices(view_starts(video.frames, clip)[0], video.frames, clip)
    frames = DecodedFrames(video_set.root, clip).frames(video, times.tolist())
    return _window(frames, _centre(video, clip), clip.crop)


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
    """[..., h, w, 2], left and right exchanged, and with them the sign of the flow in x.

    Of fields of fields, [..., h, w, 4], the flow of the x-component is that of its negative too.
    """
    mirrored: npt.NDArray[np.uint8] = fields[..., ::-1, :].copy()
    mirrored[..., 0::2] = 2 * ZERO - mirrored[..., 0::2].astype(np.int16)
    return mirrored


def _centre(video: Video, clip: ClipSpec) -> tuple[int, int]:
    """(top, left) of the centre crop."""
    height, width = prepared_shape(video, clip)
    return (height - clip.crop[0]) // 2, (width - clip.crop[1]) // 2


def _window(
    array: npt.NDArray[np.uint8], corner: tuple[int, int], crop: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Crop [t, h, w, c] to `crop` from `corner` on."""
    (top, left), (height, width) = corner, crop
    return array[:, top : top + height, left : left + width]
