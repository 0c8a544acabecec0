"""Frames as clips need them, cropped and resized: memory-mapped, or decoded each time."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.decode import DecodeError, read_frames
from repflow_pl.data.decoding.isolated import Lost
from repflow_pl.data.frames import room
from repflow_pl.data.frames.flat import FlatArrays
from repflow_pl.data.frames.reader import Frames, Reader
from repflow_pl.data.frames.resizing import resized
from repflow_pl.data.index import Video, VideoSet, cache_dir
from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.specs import ClipSpec

Pixel = TypeVar("Pixel", np.uint8, np.float32)

TOLD = 1e9
"""Bytes of frames whose place is told before it is filled."""
TRIED = 5
"""Clips that are decoded to find out how long that takes."""
VERSION = 1
"""Of the preparation: raise it with every change of the pixels it gives."""


@dataclass(frozen=True)
class DecodedFrames:
    """Decodes and prepares; frames that are to be enlarged are passed on as they are in the file,
    so that few bytes are sent and the decoder gets on with the next clip. See `Source`."""

    root: Path
    clip: ClipSpec

    def read(self, video: Video, indices: Sequence[int]) -> Frames:
        """The frames cropped, and resized where that leaves fewer pixels."""
        frames = crop_source(read_frames(self.root / video.path, indices, video.access), self.clip)
        height, width = prepared_shape(video, self.clip)
        smaller = height * width < frames.shape[1] * frames.shape[2]
        return resize(frames, (height, width)) if smaller else frames

    def finish(self, video: Video, frames: Frames) -> Frames:
        """What `read` gave, at its size."""
        return resize(frames, prepared_shape(video, self.clip))

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """Both steps in this process."""
        return self.finish(video, self.read(video, indices))


def open_frames(
    video_set: VideoSet,
    clip: ClipSpec,
    workers: int | None = None,
    kept: bool = True,
) -> Reader:
    """The set's prepared frames, kept in a cache where they are to be and that pays off.

    What is not in the cache is put there first. It is shared by all runs with the same videos,
    `source_crop` and `size`.
    """
    source = DecodedFrames(video_set.root.absolute(), clip)
    if not kept:
        return Reader(source)
    by_path = sorted(video_set.videos, key=lambda video: video.path)
    arrays = FlatArrays.at(
        cache_dir() / "frames" / f"{preparation_key(video_set, clip)}.u8",
        {video.path: (video.frames, *prepared_shape(video, clip), 3) for video in by_path},
    )
    if not arrays.is_laid_out:
        if not pays_off(arrays, source, video_set.videos):
            return Reader(source)
        if arrays.bytes > TOLD:
            console.print(
                f"{video_set.name}: {arrays.bytes / 1e9:.1f} GB of frames are kept in "
                f"{arrays.path.parent}; $REPFLOW_CACHE names another place.",
                markup=False,
            )
    reader = Reader(source, arrays)
    reader.fill(source.root, video_set.videos, f"Decoding {video_set.name}", workers)
    return reader


def pays_off(arrays: FlatArrays, source: DecodedFrames, videos: Sequence[Video]) -> bool:
    """Whether frames are kept: where a share of the memory holds them, or a share of the free disk
    from which a clip is read faster than it is decoded.

    That is tried once and written down: a training beside would have another answer, amid a run.
    """
    folder = arrays.path.parent
    if arrays.bytes > room.SHARE * room.free_disk(folder):
        return False
    if arrays.bytes <= room.SHARE * room.memory():
        return True
    tried = arrays.path.with_suffix(".json")
    if not tried.is_file():
        size = max(prod((source.clip.frames, *arrays.shapes[v.path][1:])) for v in videos)
        seconds = {
            "decoded": seconds_to_decode(source, videos),
            "read": room.seconds_to_read(folder, size),
        }
        with atomic_write(tried) as stream:
            json.dump(seconds, stream)
    seconds = json.loads(tried.read_text(encoding="utf-8"))
    return bool(seconds["read"] < seconds["decoded"])


def seconds_to_decode(source: DecodedFrames, videos: Sequence[Video]) -> float:
    """Median time that a clip takes, of some videos of a set; infinite where none can be read."""
    reader, taken = Reader(source), []
    for video in (videos[0], *videos[:: -(-len(videos) // TRIED)]):
        indices = [k for k in source.clip.offsets(video.fps) if k < video.frames]
        began = time.perf_counter()
        with suppress(DecodeError, Lost):
            reader.frames(video, indices)
            taken.append(time.perf_counter() - began)
    reader.process.stop()
    return statistics.median(taken[1:] or [float("inf")])  # the first starts the process


def preparation_key(video_set: VideoSet, clip: ClipSpec) -> str:
    """Names the prepared frames: the set, its files in whatever part, and what is done to them.

    Splits of the same videos share what was prepared of them.
    """
    how = repr((VERSION, clip.source_crop, clip.size))
    if clip.size == "half":
        how += repr(clip.crop)  # the least that is left
    files = repr(sorted({(v.path, v.bytes, v.frames) for v in video_set.videos}))
    return f"{video_set.name}-{_digest(files)}-{_digest(how)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


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


def resize(frames: npt.NDArray[Pixel], size: tuple[int, int]) -> npt.NDArray[Pixel]:
    """See `resized`: [n, H, W, C] -> [n, *size, C]."""
    if size == frames.shape[1:3]:
        return frames
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    array: npt.NDArray[Pixel] = resized(pixels, size).permute(0, 2, 3, 1).numpy()
    return array


def resized_shape(height: int, width: int, clip: ClipSpec) -> tuple[int, int]:
    """(height, width) of frames of that size after resizing."""
    size = clip.size
    if size == "half":
        scale = min(1.0, max(0.5, clip.crop[0] / height, clip.crop[1] / width))
        return round(height * scale), round(width * scale)
    if not isinstance(size, int):
        return size
    short = min(height, width)
    return round(height * size / short), round(width * size / short)
