"""One road to frames and fields: a cache where it holds the video, else a decoding process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.decoding.isolated import TIMEOUT, IsolatedProcess, Lost, isolated_map
from repflow_pl.data.frames.flat import FlatArrays
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.data.parallel import console

Frames = npt.NDArray[np.uint8]

Read = tuple[Video, Sequence[int]]
"""A clip: a video and its frames' indices."""

CLIP_TIMEOUT = 60.0
"""Seconds that the frames of one clip may take."""


class Source(ABC):
    """Makes frames or fields from a video's file, in two steps."""

    @abstractmethod
    def read(self, video: Video, indices: Sequence[int]) -> Frames:
        """What a process that may hang or die does: uint8 [n, H, W, C].

        Errors: DecodeError where the video cannot be read.
        """

    def finish(self, video: Video, frames: Frames) -> Frames:
        """What is left to be done, in the process that asked: uint8 [n, h, w, C]."""
        return frames

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """Both steps in this process."""
        return self.finish(video, self.read(video, indices))

    def whole(self, video: Video) -> tuple[Frames, ...]:
        """All of a video, for one cache."""
        return (self.frames(video, range(video.frames)),)


class Reader:
    """The frames or the fields of a set's videos.

    What the cache holds is read from it. Everything else is made by `source` in a process of its
    own, which may hang or die without harm to this one; each process that uses a reader, as the
    workers of a loader do, starts its own.

    Args:
        cache: None where every clip is made anew.
        timeout: seconds that one clip may take.
        label: what a progress bar says before the set's name, while the cache is filled.
        whole_timeout: seconds that a whole video may take then.
    """

    def __init__(
        self,
        source: Source,
        cache: FlatArrays | None = None,
        timeout: float = CLIP_TIMEOUT,
        label: str = "",
        whole_timeout: float = TIMEOUT,
    ) -> None:
        self.source = source
        self.cache = cache
        self.process = IsolatedProcess(timeout)
        self.label = label
        self.whole_timeout = whole_timeout

    def frames(self, video: Video, indices: Sequence[int]) -> Frames:
        """The frames at `indices`, uint8 [n, h, w, C].

        Errors: DecodeError; Lost where the process hung or died twice at this clip.
        """
        (frames,) = self.stream([(video, indices)])
        if isinstance(frames, Exception):
            raise frames
        return frames

    def stream(self, reads: Sequence[Read]) -> Iterator[Frames | Exception]:
        """The frames of many clips in order, with a clip's error in the place of its frames: the
        next is decoded while one is being used."""
        held = [self._is_kept(video) for video, _ in reads]
        made = self._made([read for read, there in zip(reads, held, strict=True) if not there])
        for (video, indices), there in zip(reads, held, strict=True):
            if there and self.cache is not None:
                yield self.cache.read(video.path, indices)
            else:
                yield next(made)

    def fill(self, video_set: VideoSet) -> None:
        """Put into the cache what it does not hold of a set's videos, or made of a file with other
        bytes. Copies of a set share what is kept, whatever times their files have.

        What cannot be made is named and stays out of it: it is tried again whenever it is asked
        for, and at the next filling.
        """
        label = f"{self.label} {video_set.name}"
        for video, error in fill([self], self.source.whole, self.left(video_set), label):
            console.print(f"{video.path}: not in the cache, {' '.join(str(error).split())}")

    def left(self, video_set: VideoSet) -> list[Video]:
        """What the cache, where there is one, does not hold of a set's videos."""
        if self.cache is None:
            return []
        return [video for video in video_set.videos if not self._is_kept(video)]

    def _is_kept(self, video: Video) -> bool:
        """Whether the cache has what was made of a file with these bytes."""
        return self.cache is not None and self.cache.stamp(video.path).hex() == video.content

    def _made(self, reads: Sequence[Read]) -> Iterator[Frames | Exception]:
        jobs = [(self.source, video, list(indices)) for video, indices in reads]
        for job, frames in zip(jobs, self.process.stream(_read, jobs), strict=True):
            if isinstance(frames, Lost):
                second = IsolatedProcess(self.process.timeout)
                (frames,) = second.stream(_read, [job])
                second.stop()
            yield frames if isinstance(frames, Exception) else self.source.finish(job[1], frames)


def fill(
    readers: Sequence[Reader],
    whole: Callable[[Video], Sequence[Frames]],
    videos: Sequence[Video],
    label: str,
) -> Iterator[tuple[Video, DecodeError]]:
    """Put into the readers' caches what `whole` makes of videos, an array for each; yields those of
    which it cannot."""
    timeout = max(reader.whole_timeout for reader in readers)
    for video, made in isolated_map(whole, videos, label, timeout=timeout):
        if isinstance(made, DecodeError):
            yield video, made
            continue
        for reader, array in zip(readers, made, strict=True):
            assert reader.cache is not None
            reader.cache.write(video.path, array, bytes.fromhex(video.content))


def _read(job: tuple[Source, Video, list[int]]) -> Frames:
    source, video, indices = job
    return source.read(video, indices)
