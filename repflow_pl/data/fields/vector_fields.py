"""The motion vectors of a set's files as fields of its prepared frames, kept in the cache."""

from __future__ import annotations

import itertools
import timeit
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.fields.eight_bit import STEP, to_bytes
from repflow_pl.data.fields.flow_files import prepare_motion
from repflow_pl.data.fields.tvl1 import Fields
from repflow_pl.data.fields.tvl1_fields import field_reader
from repflow_pl.data.fields.vectors import Picture, motion_between, read_both, read_pictures
from repflow_pl.data.frames.cache import DecodedFrames
from repflow_pl.data.frames.reader import Frames, Reader, Source
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.specs import ClipSpec

VERSION = 1
"""Of what is made of the vectors: raise it with every change of the fields."""
AT_ONCE = 16
"""Fields of the file's own size that are held before they are made smaller."""


@dataclass(frozen=True)
class VectorFields(Source):
    """The motion over a clip's stride that the files' vectors tell.

    Field i is the motion from frame i to frame min(i + stride, last), where the later one has the
    pixel: uint8 [n, h, w, 2], x before y, in pixels of the prepared frames. On the objects of 16
    test videos of motion_shapes they are off by 0.49 pixels on average, TV-L1's by 0.30.
    """

    root: Path
    clip: ClipSpec

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        first, last = min(indices), min(max(indices) + self.clip.stride, video.frames - 1)
        start, shown = read_pictures(self.root / video.path, first, last, video.access)
        if start + len(shown) <= last:
            left = start + len(shown)
            raise DecodeError(f"{video.path}: {left} of {video.frames} frames are left")
        return vector_fields(shown, [index - start for index in indices], self.clip)


@dataclass(frozen=True)
class FramesAndVectors:
    """Both from one decoding of a file."""

    frames: DecodedFrames
    vectors: VectorFields

    def whole(self, video: Video) -> tuple[Frames, Fields]:
        """All of a video, as `Source.whole` of either gives it.

        Errors: DecodeError; Lacking, by name, for a file that holds no vectors.
        """
        pixels, shown = read_both(self.vectors.root / video.path, video.frames)
        frames = self.frames.finish(video, self.frames.smaller(video, pixels))
        return frames, vector_fields(shown, range(video.frames), self.vectors.clip)


def open_vectors(video_set: VideoSet, clip: ClipSpec, kept: bool = True) -> Reader:
    """The fields of a set's motion vectors over `clip.stride`.

    Where one is made, Errors: Lacking, by name, for a file that holds no vectors.
    """
    source = VectorFields(video_set.root.absolute(), clip)
    how = (VERSION, clip.stride, STEP)
    return field_reader(video_set, clip, source, "vectors", how, "Motion vectors", kept)


def vector_fields(shown: Sequence[Picture], indices: Sequence[int], clip: ClipSpec) -> Fields:
    """The fields that begin at some frames of a file, uint8 [n, h, w, 2]."""
    moved = motion_between(shown, indices, clip.stride)
    parts = iter(lambda: list(itertools.islice(moved, AT_ONCE)), [])
    return np.concatenate([to_bytes(prepare_motion(np.stack(part), clip)) for part in parts])


def time_vectors(path: Path, indices: Sequence[int], clip: ClipSpec, repeats: int) -> list[float]:
    """Milliseconds that these fields take on one core, each time, once the file is decoded."""
    _, shown = read_pictures(path)
    taken = timeit.repeat(lambda: vector_fields(shown, indices, clip), number=1, repeat=repeats)
    return [1000 * seconds for seconds in taken]
