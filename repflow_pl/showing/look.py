"""`repflow look`: a film of a video and of the flow in it, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from repflow_pl.data.cache import resize
from repflow_pl.data.decode_pyav import Frame
from repflow_pl.data.parallel import progress_bar
from repflow_pl.errors import UserError
from repflow_pl.showing.fields import TVL1, FlowSource, LearnedLayer, PixelLayer
from repflow_pl.showing.film import FORMATS, film
from repflow_pl.showing.loading import asked_weights
from repflow_pl.showing.options import LookOptions
from repflow_pl.showing.panels import Layout, Panel
from repflow_pl.showing.stream import FrameStream, frames_of, samples_of
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


def look(video: Path, options: LookOptions) -> int:
    """Write the film and say where. Errors: UserError for what the user can mend."""
    out = options.out or Path(f"{video.stem}_flow.mp4")
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"the film's name ends in one of {', '.join(FORMATS)}, not as {out} does.")
    with frames_of(video, options.seconds) as stream:
        sources = sources_of(options, float(stream.rate))
        first, frames = begun(stream)
        size = shown_size(first.shape[:2], options.size)
        longest = lengths_of(video, sources, size) if options.scale is None else None
        scales = longest or [options.scale or LEAST] * len(sources)
        panels = [Panel("video")]
        panels += [Panel(each.name, scale) for each, scale in zip(sources, scales, strict=True)]
        layout = Layout(panels, size)
        count = 0
        expected = None if stream.expected is None else max(1, stream.expected - 1)
        with (
            film(out, stream.rate, layout.shape) as show,
            progress_bar(f"Looking at {video.name}", expected) as advance,
        ):
            for seen in watched(frames, sources, size):
                show(layout.picture([seen.frame, *coloured(seen.fields, scales)]))
                advance()
                count += 1
            if not count:
                raise UserError(f"{video} has one frame, and motion is between two.")
    print(f"wrote {out}: {count} frames, {', '.join(each.name for each in sources)}")
    return 0


def sources_of(options: LookOptions, rate: float) -> list[FlowSource]:
    """What is shown beside the video. Errors: UserError for weights that cannot be had."""
    sources: list[FlowSource] = [PixelLayer()]
    if options.weights is not None:
        weights = asked_weights(options.weights, options.device, options.iterations, None)
        sources.append(LearnedLayer(weights, rate))
    if not options.no_tvl1:
        sources.append(TVL1())
    return sources


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


def coloured(fields: Sequence[Tensor], scales: Sequence[float]) -> list[Picture]:
    """The fields as pictures, each with its own length of the full colour."""
    return [flow_pictures(each[None], scale)[0] for each, scale in zip(fields, scales, strict=True)]


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


def begun(stream: FrameStream) -> tuple[Frame, Iterator[Frame]]:
    """The first frame, and all of them. Errors: UserError where there is none."""
    first = next(stream.frames, None)
    if first is None:
        raise UserError(f"{stream.path} cannot be read: there is no frame in it.")

    def all_of_them() -> Iterator[Frame]:
        yield first
        yield from stream.frames

    return first, all_of_them()
