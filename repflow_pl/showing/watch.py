"""A video frame by frame, with the flow that several sources see in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from repflow_pl.data.decoding.decode_pyav import Frame
from repflow_pl.data.frames.cache import resize
from repflow_pl.data.parallel import progress_bar
from repflow_pl.errors import UserError
from repflow_pl.showing.fields import FlowSource
from repflow_pl.showing.stream import frames_of, samples_of
from repflow_pl.showing.wheel import Picture, flow_pictures

SAMPLES = 4
"""Places of a video at which lengths are measured, for the colours."""
FULL_COLOUR = 0.99
"""The share of a sample's vectors that are shorter than the one with the full colour."""
LEAST = 0.05
"""Pixels per frame: a still video is not shown as noise in full colours."""


@dataclass(frozen=True)
class Seen:
    """A frame as it is shown, [h, w, 3], and each source's flow from it to the next, [2, h, w]."""

    frame: Frame
    fields: tuple[Tensor, ...]


@dataclass(frozen=True)
class Watching:
    """A video that is being gone through."""

    rate: Fraction
    """Frames per second."""
    size: tuple[int, int]
    """(height, width) of what is shown."""
    sources: Sequence[FlowSource]
    scales: Sequence[float]
    """The length that has the full colour, for each source."""
    seen: Iterator[Seen]
    """Can be gone through once."""

    def coloured(self, seen: Seen) -> list[Picture]:
        """The fields as pictures [h, w, 3], each with its own length of the full colour."""
        pairs = zip(seen.fields, self.scales, strict=True)
        return [flow_pictures(field[None], scale)[0] for field, scale in pairs]


@contextmanager
def watching(
    video: Path,
    sources_at: Callable[[float], Sequence[FlowSource]],
    short_side: int,
    seconds: float | None = None,
    scale: float | None = None,
) -> Iterator[Watching]:
    """Go through a video, or its first `seconds`, with a progress bar.

    Args:
        sources_at: what sees its flow, at its rate in frames per second.
        short_side: of what is shown, in pixels; no video is enlarged.
        scale: the length that has the full colour; by default measured, for each source.

    Errors: UserError where the video cannot be read, also amid it, and where it has one frame.
    """
    with frames_of(video, seconds) as stream:
        sources = sources_at(float(stream.rate))
        first = next(stream.frames, None)
        if first is None:
            raise UserError(f"{video} cannot be read: there is no frame in it.")
        frames = chain([first], stream.frames)
        size = shown_size(first.shape[:2], short_side)
        scales = [scale] * len(sources) if scale else lengths_of(video, sources, size)
        expected = None if stream.expected is None else max(1, stream.expected - 1)

        def seen() -> Iterator[Seen]:
            count = 0
            with progress_bar(f"Looking at {video.name}", expected) as advance:
                for each in watched(frames, sources, size):
                    yield each
                    advance()
                    count += 1
            if not count:
                raise UserError(f"{video} has one frame, and motion is between two.")

        yield Watching(stream.rate, size, sources, scales, seen())


def watched(
    frames: Iterable[Frame], sources: Sequence[FlowSource], size: tuple[int, int]
) -> Iterator[Seen]:
    """Each frame but the last with the flow from it, of frames that come one after the other.

    No more frames are held than the sources see together.

    Args:
        size: (height, width) of what is shown.
    """
    length = max(source.window for source in sources)
    shown: list[Frame] = []
    kept: list[list[Frame]] = [[] for _ in sources]
    for frame in frames:
        shown.append(resize(frame[None], size)[0])
        for source, of_source in zip(sources, kept, strict=True):
            of_source.append(source.prepared(frame, shown[-1]))
        if len(shown) == length:
            yield from _window(shown, sources, kept, size)
            del shown[:-1]
            for of_source in kept:
                del of_source[:-1]
    if len(shown) > 1:
        yield from _window(shown, sources, kept, size)


def _window(
    shown: Sequence[Frame],
    sources: Sequence[FlowSource],
    kept: Sequence[Sequence[Frame]],
    size: tuple[int, int],
) -> Iterator[Seen]:
    fields = [source.fields(prepared, size) for source, prepared in zip(sources, kept, strict=True)]
    for k, frame in enumerate(shown[:-1]):
        yield Seen(frame, tuple(each[k] for each in fields))


def lengths_of(video: Path, sources: Sequence[FlowSource], size: tuple[int, int]) -> list[float]:
    """The length that has the full colour for each source: of samples spread over the video, what
    all but a hundredth of the vectors are shorter than."""
    longest = [LEAST] * len(sources)
    length = max(source.window for source in sources)
    for run in samples_of(video, SAMPLES, max(length, 3)):
        for seen in watched(run, sources, size):
            for k, each in enumerate(seen.fields):
                found = torch.quantile(each.norm(dim=0).flatten()[::7], FULL_COLOUR)
                longest[k] = max(longest[k], float(found))
    return longest


def shown_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """(height, width) of a panel: the video's shape with this short side or less, and even."""
    scale = min(1.0, short_side / min(size))
    height, width = (max(2, 2 * round(side * scale / 2)) for side in size)
    return height, width
