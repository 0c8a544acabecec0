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
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.frames import room
from repflow_pl.data.frames.flat import FlatArrays
from repflow_pl.data.frames.reader import Frames, Reader, Source
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write, cache_dir
from repflow_pl.specs import ClipSpec

if TYPE_CHECKING:
    from torch import Tensor

Pixel = TypeVar("Pixel", np.uint8, np.float32)

TOLD = 1e9
"""Bytes of frames whose place is told before it is filled."""
TRIED = 5
"""Clips that are decoded to find out how long that takes."""
VERSION = 1
"""Of the preparation: raise it with every change of the pixels it gives."""


@dataclass(frozen=True)
class DecodedFrames(Source):
    """Decodes and prepares; frames that are to be enlarged are passed on as they are in the file,
    so that few bytes are sent and the decoder gets on with the next clip."""

    root: Path
    clip: ClipSpec

    def read(self, video: Video, indices: Sequence[int]) -> Frames:
        """The frames cropped, and resized where that leaves fewer pixels."""
        return self.smaller(video, read_frames(self.root / video.path, indices, video.access))

    def smaller(self, video: Video, frames: Frames) -> Frames:
        """What `read` makes of frames as they are in the file."""
        frames = crop_source(frames, self.clip)
        height, width = prepared_shape(video, self.clip)
        smaller = height * width < frames.shape[1] * frames.shape[2]
        return resize(frames, (height, width)) if smaller else frames

    def finish(self, video: Video, frames: Frames) -> Frames:
        """What `read` gave, at its size."""
        return resize(frames, prepared_shape(video, self.clip))


def open_frames(video_set: VideoSet, clip: ClipSpec, kept: bool = True) -> Reader:
    """The set's prepared frames, with a cache where they are to be kept and that pays off.

    It is shared by all runs with the same videos, `source_crop` and `size`.
    """
    source = DecodedFrames(video_set.root.absolute(), clip)
    if not kept:
        return Reader(source)
    arrays = place_for(video_set, clip, "frames", 3)
    if not arrays.is_laid_out:
        if not pays_off(arrays, source, video_set.videos):
            return Reader(source)
        if arrays.nbytes > TOLD:
            console.print(
                f"{video_set.name}: {arrays.nbytes / 1e9:.1f} GB of frames are kept in "
                f"{arrays.path.parent}; $REPFLOW_CACHE names another place."
            )
    return Reader(source, arrays, label="Decoding")


def place_for(
    video_set: VideoSet, clip: ClipSpec, folder: str, channels: int, made: str = ""
) -> FlatArrays:
    """Where a folder of the cache keeps a set's prepared frames, or what is made of them.

    Args:
        made: all that decides it beside the frames; it is in the file's name.
    """
    name = preparation_key(video_set, clip) + (f"-{_digest(made)}" if made else "")
    by_path = sorted(video_set.videos, key=lambda video: video.path)
    return FlatArrays.at(
        cache_dir() / folder / f"{name}.u8",
        {video.path: (video.frames, *prepared_shape(video, clip), channels) for video in by_path},
    )


def pays_off(arrays: FlatArrays, source: DecodedFrames, videos: Sequence[Video]) -> bool:
    """Whether frames are kept: where a share of the memory holds them, or a share of the free disk
    from which a clip is read faster than it is decoded.

    That is tried once and written down: a training beside would have another answer, amid a run.
    """
    folder = arrays.path.parent
    if arrays.nbytes > room.SHARE * room.free_disk(folder):
        return False
    if arrays.nbytes <= room.SHARE * room.memory():
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
        with suppress(DecodeError):
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


def crop_source(frames: npt.NDArray[Pixel], clip: ClipSpec) -> npt.NDArray[Pixel]:
    """Centre crop in source pixels: [n, H, W, C] -> [n, h, w, C]."""
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


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear and anti-aliased: [n, C, H, W], bytes or floats, on the CPU -> [n, C, *size].

    Bytes stay bytes all the way, and are the same whether a processor has AVX or not. torchvision's
    resize takes them through floats on some processors, so that a pixel may be 1 of 255 away; and
    its import takes as long as torch's.
    """
    from torch.nn.functional import interpolate

    return interpolate(pictures, size, mode="bilinear", antialias=True)


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
