"""A video's frames one after the other: as much memory for an hour as for a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import dropwhile, islice
from pathlib import Path
from typing import Any

from repflow_pl.data.decoding.decode_pyav import DecodeError, Frame, OpenVideo, open_video, pyav
from repflow_pl.showing.one_video import check_file, unreadable

USUAL_RATE = Fraction(25)
"""Of a video that does not say its own."""
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class FrameStream:
    """A video that is being decoded."""

    rate: Fraction
    """Frames per second."""
    expected: int | None
    """Frames, as the file's header announces them; None where it does not."""
    frames: Iterator[Frame]
    """RGB, uint8 [H, W, 3]; can be gone through once."""


@contextmanager
def frames_of(path: Path, seconds: float | None = None) -> Iterator[FrameStream]:
    """Open a video, for its first `seconds` where they are given.

    Errors: UserError where it is not there or cannot be decoded, also amid it.
    """
    check_file(path)
    try:
        with open_video(path) as video:
            rate = Fraction(video.stream.average_rate or USUAL_RATE).limit_denominator(10_000)
            most = None if seconds is None else max(1, round(seconds * rate))
            expected = _expected(video, rate)
            if expected is not None and most is not None:
                expected = min(expected, most)
            frames = map(video.pixels, video.frames())
            yield FrameStream(rate, expected, islice(frames, most))
    except DecodeError as error:
        raise unreadable(path, error) from error


def samples_of(path: Path, count: int, length: int) -> Iterator[list[Frame]]:
    """`count` runs of `length` consecutive frames or fewer, spread over a video.

    Of a file in which one cannot seek, as many as there are.
    """
    with open_video(path) as video:
        container = video.container
        begin, duration = container.start_time or 0, container.duration or 0
        for k in range(count):
            place = begin + round(duration * k / count)
            try:
                container.seek(place)
                decoded = dropwhile(partial(_before, place), container.decode(video.stream))
                run = [video.pixels(frame) for frame in islice(decoded, length)]
            except pyav().FFmpegError:
                return
            if run:
                yield run


def _before(place: int, frame: Any) -> bool:
    """Whether a frame is shown before a place, in microseconds; to seek is to go to a keyframe."""
    return frame.time is not None and frame.time * MICROSECONDS < place - 1


def _expected(video: OpenVideo, rate: Fraction) -> int | None:
    if video.shown is not None:
        return len(video.shown)
    if video.stream.frames:
        return int(video.stream.frames)
    duration = video.container.duration
    return round(duration * rate / MICROSECONDS) if duration else None
