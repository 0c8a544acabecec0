"""Frames as clips need them, cropped and resized: memory-mapped, or decoded each time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decode import DecodeError, read_frames
from repflow_pl.data.flat import FlatArrays
from repflow_pl.data.index import Video, VideoSet, cache_dir
from repflow_pl.data.isolated import IsolatedProcess, Lost, isolated_map
from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

Frames = npt.NDArray[np.uint8]

Read = tuple[Video, Sequence[int]]
"""A clip: a video and its frames' indices."""

MAPPED_BYTES = 4 * 1024**3
"""Sets whose prepared frames take more than this are decoded on the fly."""
CLIP_TIMEOUT = 60.0
"""Seconds that the frames of one clip may take."""
VERSION = 1
"""Of the preparation: raise it with every change of the pixels it gives."""


class FrameSource(Protocol):
    """Where prepared frames come from."""

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """The frames at `indices`, uint8 [n, h, w, 3], after source crop and resizing."""
        ...


@dataclass(frozen=True)
class DecodedFrames:
    """Decodes and prepares at every call."""

    root: Path
    clip: ClipSpec

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """See `FrameSource`."""
        return self.enlarged(video, self.reduced(video, indices))

    def reduced(self, video: Video, indices: Sequence[int]) -> Frames:
        """The frames cropped, and resized where that leaves fewer pixels to be passed on."""
        frames = crop_source(read_frames(self.root / video.path, indices, video.access), self.clip)
        height, width = prepared_shape(video, self.clip)
        smaller = height * width < frames.shape[1] * frames.shape[2]
        return resize(frames, (height, width)) if smaller else frames

    def enlarged(self, video: Video, frames: Frames) -> Frames:
        """What `reduced` gave, at its size."""
        return resize(frames, prepared_shape(video, self.clip))


class GuardedFrames:
    """`DecodedFrames` in a process of its own, which may hang or die without harm to this one.

    Frames that are to be enlarged come as they are in the file and are enlarged here: few bytes are
    sent, the decoder gets on with the next clip, and its process needs no torch.
    Each process that uses it, as the workers of a loader do, starts its own decoding process.
    """

    def __init__(self, source: DecodedFrames, timeout: float = CLIP_TIMEOUT) -> None:
        self.source = source
        self.process = IsolatedProcess(timeout)

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """See `FrameSource`. Errors: Lost where the decoder hung or died twice at this clip."""
        (frames,) = self.stream([(video, indices)])
        if isinstance(frames, Exception):
            raise frames
        return frames

    def stream(self, reads: Sequence[Read]) -> Iterator[Frames | Exception]:
        """The frames of many clips: the next is decoded while one is being used."""
        jobs = [(self.source, video, list(indices)) for video, indices in reads]
        for job, frames in zip(jobs, self.process.stream(_reduced, jobs), strict=True):
            if isinstance(frames, Lost):
                second = IsolatedProcess(self.process.timeout)
                (frames,) = second.stream(_reduced, [job])
                second.stop()
            if isinstance(frames, Exception):
                yield frames
            else:
                yield self.source.enlarged(job[1], frames)


@dataclass(frozen=True)
class MappedFrames:
    """Reads from one file that holds the prepared frames of the whole set."""

    arrays: FlatArrays

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """See `FrameSource`."""
        return self.arrays.read(video.path, indices)


def read_ahead(source: FrameSource, reads: Sequence[Read]) -> Iterator[Frames | Exception]:
    """The frames of many clips in order, with a clip's error in the place of its frames."""
    if isinstance(source, GuardedFrames):
        yield from source.stream(reads)
        return
    for video, indices in reads:
        try:
            yield source.frames(video, indices)
        except (DecodeError, Lost) as error:
            yield error


def open_frames(
    video_set: VideoSet,
    clip: ClipSpec,
    bound: int = MAPPED_BYTES,
    workers: int | None = None,
) -> FrameSource:
    """The set's prepared frames, mapped where they fit into `bound` bytes.

    The file is made by the first who asks and then shared by all runs with the same videos,
    `source_crop` and `size`.
    """
    decoded = DecodedFrames(video_set.root.absolute(), clip)
    arrays = FlatArrays.at(
        cache_dir() / "frames" / f"{preparation_key(video_set, clip)}.u8",
        {video.path: (video.frames, *prepared_shape(video, clip), 3) for video in video_set.videos},
    )
    if arrays.bytes > bound:
        return GuardedFrames(decoded)
    if not arrays.is_written():
        jobs = [(decoded, video) for video in video_set.videos]
        found = isolated_map(_all_frames, jobs, f"Decoding {video_set.name}", workers)
        arrays.write(
            filled(video, frames, arrays.shapes[video.path], 0) for (_, video), frames in found
        )
    return MappedFrames(arrays)


def preparation_key(video_set: VideoSet, clip: ClipSpec) -> str:
    """Names the prepared frames: the set, its list of videos, and what is done to them."""
    how = repr((VERSION, clip.source_crop, clip.size))
    if clip.size == "half":
        how += repr(clip.crop)  # the least that is left
    digest = hashlib.sha256(how.encode()).hexdigest()[:8]
    return f"{video_set.name}-{video_set.fingerprint}-{digest}"


def prepared_shape(video: Video, clip: ClipSpec) -> tuple[int, int]:
    """(height, width) of a video's frames after source crop and resizing.

    Errors: UserError where the video is smaller than the source crop.
    """
    height, width = video.height, video.width
    if clip.source_crop is not None:
        if height < clip.source_crop[0] or width < clip.source_crop[1]:
            raise UserError(
                f"{video.path} is {height} x {width} pixels (height x width), smaller than the "
                f"source crop of {clip.source_crop[0]} x {clip.source_crop[1]}; take a smaller one."
            )
        height, width = clip.source_crop
    return resized_shape(height, width, clip)


def crop_source(frames: Frames, clip: ClipSpec) -> Frames:
    """Centre crop in source pixels: [n, H, W, 3] -> [n, h, w, 3]."""
    if clip.source_crop is None:
        return frames
    height, width = clip.source_crop
    top, left = (frames.shape[1] - height) // 2, (frames.shape[2] - width) // 2
    return frames[:, top : top + height, left : left + width]


def resize(frames: Frames, size: tuple[int, int]) -> Frames:
    """Anti-aliased: [n, H, W, 3] -> [n, *size, 3]."""
    if size == frames.shape[1:3]:
        return frames
    import torch
    from torchvision.transforms.v2 import functional as transforms

    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    resized = transforms.resize(pixels, list(size), antialias=True)
    array: Frames = resized.permute(0, 2, 3, 1).numpy()
    return array


def resized_shape(height: int, width: int, clip: ClipSpec) -> tuple[int, int]:
    """(height, width) of frames of that size after resizing."""
    size = clip.size
    if size == "half":
        scale = max(0.5, clip.crop[0] / height, clip.crop[1] / width)
        return max(round(height * scale), clip.crop[0]), max(round(width * scale), clip.crop[1])
    if not isinstance(size, int):
        return size
    short = min(height, width)
    return round(height * size / short), round(width * size / short)


def filled(video: Video, array: Frames | Lost, shape: tuple[int, ...], value: int) -> Frames:
    """What was computed of a video; where the process was lost, its name is told and the array is
    filled with a value that says nothing."""
    if isinstance(array, Lost):
        console.print(f"{video.path}: left empty, {array}", markup=False)
        return np.full(shape, value, np.uint8)
    return array


def _reduced(job: tuple[DecodedFrames, Video, list[int]]) -> Frames:
    source, video, indices = job
    return source.reduced(video, indices)


def _all_frames(job: tuple[DecodedFrames, Video]) -> Frames:
    source, video = job
    return source.frames(video, range(video.frames))
