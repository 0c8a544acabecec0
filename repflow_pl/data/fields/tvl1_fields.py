"""The TV-L1 fields of a set's videos, made from prepared frames and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.fields.eight_bit import STEP, ZERO, to_bytes
from repflow_pl.data.fields.flow_files import VIDEO_TIMEOUT, open_files, prepare_fields
from repflow_pl.data.fields.tvl1 import Fields, TVL1Options, of_components, one_core, tvl1
from repflow_pl.data.frames.cache import DecodedFrames, preparation_key, prepared_shape
from repflow_pl.data.frames.flat import FlatArrays
from repflow_pl.data.frames.reader import Reader, Source
from repflow_pl.data.index import Video, VideoSet, cache_dir
from repflow_pl.specs import ClipSpec

CLIP_TIMEOUT = 600.0
"""Seconds that the fields of one clip may take."""


@dataclass(frozen=True)
class ComputedFields:
    """Computes the fields between prepared frames, see `Source`.

    Field i is the motion from frame i to frame min(i + stride, last): uint8 [n, h, w, 2], x before
    y. With `twice` [n, h, w, 4]: the flow of the x-component of the fields, then that of the
    y-component.
    """

    source: DecodedFrames
    options: TVL1Options
    twice: bool

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        """See `Source`."""
        one_core()
        if not self.twice:
            return self._once(video, indices)

        def solve(first: Fields, second: Fields) -> Fields:
            return of_components(first, second, self.options)

        # The last field is no motion at all, and has none itself.
        last = video.frames - 2
        stride = self.source.clip.stride
        return between(lambda at: self._once(video, at), solve, indices, last, stride, 4)

    def finish(self, video: Video, frames: Fields) -> Fields:
        """Nothing is left to be done."""
        return frames

    def _once(self, video: Video, indices: Sequence[int]) -> Fields:
        def solve(first: Fields, second: Fields) -> Fields:
            return to_bytes(tvl1(first, second, self.options))

        last, stride = video.frames - 1, self.source.clip.stride
        return between(lambda at: self.source.frames(video, at), solve, indices, last, stride, 2)


@dataclass(frozen=True)
class FreshFields:
    """Computes the fields of the videos' own size that else lie beside them, see `Source`."""

    root: Path
    clip: ClipSpec

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        """See `Source`."""
        one_core()

        def pictures(at: list[int]) -> Fields:
            return read_frames(self.root / video.path, at, video.access)

        def solve(first: Fields, second: Fields) -> Fields:
            return to_bytes(tvl1(first, second))

        return between(pictures, solve, indices, video.frames - 1, self.clip.stride, 2)

    def finish(self, video: Video, frames: Fields) -> Fields:
        """Them at the size of the clips."""
        return prepare_fields(frames, self.clip)


def open_fields(
    video_set: VideoSet,
    clip: ClipSpec,
    options: TVL1Options | None = None,
    workers: int | None = None,
    twice: bool = False,
    kept: bool = True,
) -> Reader:
    """The fields between a set's prepared frames i and i + `clip.stride`; computed once.

    With `twice`, the fields of these fields: TV-L1 of each component, taken as a grey picture.

    They are shared by all runs with the same videos, preparation, stride and options. There is no
    bound on their size but the disk: TV-L1 is too slow to be computed while training. Where
    `clip.fields` names settings, the fields are those beside the videos, see `open_files`. Where
    they are not to be kept, each is computed when it is asked for.
    """
    if clip.fields and not twice:
        if kept:
            return open_files(video_set, clip, workers)
        return Reader(FreshFields(video_set.root.absolute(), clip), timeout=CLIP_TIMEOUT)
    options = options or TVL1Options()
    if not kept:
        frames = DecodedFrames(video_set.root.absolute(), clip)
        return Reader(ComputedFields(frames, options, twice), timeout=CLIP_TIMEOUT)
    how = repr((clip.stride, STEP, options, "twice") if twice else (clip.stride, STEP, options))
    # Decoded anew rather than read from the cache: it costs little beside TV-L1.
    source = ComputedFields(DecodedFrames(video_set.root.absolute(), clip), options, twice)
    label = "TV-L1 of TV-L1" if twice else "TV-L1"
    return keep_fields(video_set, clip, source, "tvl1", how, label, workers, 4 if twice else 2)


def keep_fields(
    video_set: VideoSet,
    clip: ClipSpec,
    source: Source,
    folder: str,
    how: str,
    label: str,
    workers: int | None = None,
    channels: int = 2,
) -> Reader:
    """The fields of `source` for a set's prepared frames, each made once and kept in the cache.

    Args:
        folder: of the cache.
        how: all that decides the fields beside the prepared frames; it names them.
        label: what a progress bar calls them.
    """
    digest = hashlib.sha256(how.encode()).hexdigest()[:8]
    name = f"{preparation_key(video_set, clip)}-{digest}.u8"
    shapes = {
        video.path: (video.frames, *prepared_shape(video, clip), channels)
        for video in sorted(video_set.videos, key=lambda video: video.path)
    }
    reader = Reader(source, FlatArrays.at(cache_dir() / folder / name, shapes), CLIP_TIMEOUT)
    named = f"{label} of {video_set.name}"
    reader.fill(video_set.root, video_set.videos, named, workers, VIDEO_TIMEOUT)
    return reader


def between(
    read: Callable[[list[int]], Fields],
    solve: Callable[[Fields, Fields], Fields],
    indices: Sequence[int],
    last: int,
    stride: int,
    channels: int,
) -> Fields:
    """`solve` of each picture i and picture min(i + stride, last); from the last on no motion."""
    ends = {i: min(i + stride, last) for i in indices if i < last}
    needed = sorted({*indices, *ends.values()})
    pictures = dict(zip(needed, read(needed), strict=True))
    height, width = next(iter(pictures.values())).shape[:2]
    fields = np.full((len(indices), height, width, channels), ZERO, np.uint8)
    for k, i in enumerate(indices):
        if i in ends:
            fields[k] = solve(pictures[i], pictures[ends[i]])
    return fields
