"""The TV-L1 fields of a set's videos, made from prepared frames and kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.fields.eight_bit import STEP, ZERO
from repflow_pl.data.fields.flow_files import VIDEO_TIMEOUT, open_files, prepare_fields
from repflow_pl.data.fields.tvl1 import Fields, TVL1Options, of_components, of_frames
from repflow_pl.data.frames.cache import DecodedFrames, place_for
from repflow_pl.data.frames.reader import Reader, Source
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.specs import ClipSpec

CLIP_TIMEOUT = 600.0
"""Seconds that the fields of one clip may take."""


@dataclass(frozen=True)
class Between(Source):
    """Field i is the motion from picture i of a source to picture min(i + stride, last): uint8
    [n, h, w, channels], of prepared frames x before y."""

    pictures: Source
    solve: Callable[[Fields, Fields], Fields]
    """The motion from one picture to another; a process can import it by its name."""
    stride: int
    channels: int = 2
    still: int = 1
    """Pictures at the end from which nothing moves: of fields two, as the last is none itself."""

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        last = video.frames - self.still
        ends = {i: min(i + self.stride, last) for i in indices if i < last}
        needed = sorted({*indices, *ends.values()})
        pictures = dict(zip(needed, self.pictures.frames(video, needed), strict=True))
        height, width = next(iter(pictures.values())).shape[:2]
        fields = np.full((len(indices), height, width, self.channels), ZERO, np.uint8)
        for k, i in enumerate(indices):
            if i in ends:
                fields[k] = self.solve(pictures[i], pictures[ends[i]])
        return fields


@dataclass(frozen=True)
class FileFrames(Source):
    """Frames as they are in the file."""

    root: Path

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        return read_frames(self.root / video.path, indices, video.access)


@dataclass(frozen=True)
class FreshFields(Source):
    """Computes the fields of the videos' own size that else lie beside them."""

    root: Path
    clip: ClipSpec

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        return Between(FileFrames(self.root), of_frames, self.clip.stride).read(video, indices)

    def finish(self, video: Video, frames: Fields) -> Fields:
        """Them at the size of the clips."""
        return prepare_fields(frames, self.clip)


def open_fields(
    video_set: VideoSet, clip: ClipSpec, twice: bool = False, kept: bool = True
) -> Reader:
    """The fields between a set's prepared frames i and i + `clip.stride`.

    With `twice`, the fields of these fields: TV-L1 of each component, taken as a grey picture; that
    of the x-component comes first, uint8 [n, h, w, 4].

    They are shared by all runs with the same videos, preparation, stride and options. There is no
    bound on their size but the disk: TV-L1 is too slow to be computed while training. Where
    `clip.fields` names settings, the fields are those beside the videos, see `open_files`. Where
    they are not to be kept, each is computed when it is asked for.
    """
    root = video_set.root.absolute()
    if clip.fields and not twice:
        if kept:
            return open_files(video_set, clip)
        return Reader(FreshFields(root, clip), timeout=CLIP_TIMEOUT)
    # Decoded anew rather than read from the cache: it costs little beside TV-L1.
    source = Between(DecodedFrames(root, clip), of_frames, clip.stride)
    how: tuple[object, ...] = (clip.stride, STEP, TVL1Options())
    label = "TV-L1"
    if twice:
        source = Between(source, of_components, clip.stride, channels=4, still=2)
        how, label = (*how, "twice"), "TV-L1 of TV-L1"
    return field_reader(video_set, clip, source, "tvl1", how, label, kept, source.channels)


def field_reader(
    video_set: VideoSet,
    clip: ClipSpec,
    source: Source,
    folder: str,
    how: tuple[object, ...],
    label: str,
    kept: bool,
    channels: int = 2,
    needs: Callable[[], object] | None = None,
) -> Reader:
    """The fields of `source` for a set's prepared frames, with a cache where they are to be kept.

    Args:
        folder: of the cache.
        how: all that decides the fields beside the prepared frames; it names them.
        label: what a progress bar calls them.
        needs: called where any is yet to be made, before processes that make them start.
    """
    if not kept:
        return Reader(source, timeout=CLIP_TIMEOUT)
    arrays = place_for(video_set, clip, folder, channels, repr(how))
    reader = Reader(source, arrays, CLIP_TIMEOUT, f"{label} of", VIDEO_TIMEOUT)
    if needs and reader.left(video_set):
        needs()
    return reader
