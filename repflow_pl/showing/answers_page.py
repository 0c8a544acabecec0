"""What a network answers to videos as a page for a browser: each video with the flow over it, its
scores over time, and what each network of a late fusion says by itself."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from repflow_pl.data.isolated import IsolatedProcess
from repflow_pl.data.parallel import progress_bar
from repflow_pl.errors import UserError
from repflow_pl.extras import load
from repflow_pl.files import atomic_write
from repflow_pl.layers.flow import FlowIteration
from repflow_pl.showing.answers import Answer, Scores, ask
from repflow_pl.showing.fields import FlowSource, LearnedLayer, PixelLayer
from repflow_pl.showing.film import film
from repflow_pl.showing.look import begun, coloured, lengths_of, shown_size, watched
from repflow_pl.showing.one_video import TIMEOUT
from repflow_pl.showing.stream import frames_of
from repflow_pl.showing.weights import Weights, name_of
from repflow_pl.showing.wheel import colour_wheel

SIDE = 240
"""Short side of the pictures in pixels."""
SMALLEST = 128
"""Of a video that is smaller: it is enlarged by a whole number."""
MOST_CLIPS = 60
"""That a video is asked about for its scores over time."""
CURVES = 3
"""Classes whose scores are drawn."""
WIDTH, HEIGHT = 600, 150
"""Of the drawing of the scores, in its own units."""


@dataclass(frozen=True)
class Line:
    """A class in the table below a video."""

    label: str
    score: float
    members: tuple[float, ...]
    """What each network of a late fusion gives it."""


@dataclass(frozen=True)
class Shown:
    """A video on the page."""

    name: str
    film: str
    """Its address as seen from the page: frames in the left half, flow in the right one."""
    height: int
    width: int
    flow: str
    """Where the flow comes from, and the length that has the full colour."""
    lines: tuple[Line, ...]
    points: tuple[str, ...]
    """Of the first classes, the scores over time as the points of an SVG line."""


def write_page(
    page: Path, weights: Weights, answers: Sequence[Answer], videos: Sequence[Path], top: int
) -> None:
    """Write the page, and the films it plays into a folder beside it.

    Args:
        videos: the files behind the answers, in their order; the answers say how they are called.

    Errors: UserError where a place cannot be written, or a video cannot be read any more.
    """
    jinja2 = load("jinja2")
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "web")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    folder = page.with_name(f"{page.stem}_files")
    process = IsolatedProcess(TIMEOUT)
    try:
        with progress_bar("Drawing the page", len(answers)) as advance:
            shown = []
            for number, (answer, video) in enumerate(zip(answers, videos, strict=True)):
                out = folder / f"{number}.mp4"
                over_time = _over_time(weights, answer, video, process)
                shown.append(_shown(weights, answer, over_time, video, out, top))
                advance()
    finally:
        process.stop()
    said = weights.described
    text = environment.get_template("answers.html").render(
        network=name_of(said.model),
        members=[name for name, _ in answers[0].members] if answers else [],
        card=said.card,
        shown=shown,
        wheel=_png(colour_wheel(72)),
        width=WIDTH,
        height=HEIGHT,
    )
    with atomic_write(page) as stream:
        stream.write(text)


def _over_time(weights: Weights, answer: Answer, video: Path, process: IsolatedProcess) -> Answer:
    """The answer with a clip for each half of a clip's length, where it has fewer."""
    wanted = min(MOST_CLIPS, math.ceil(2 * answer.frames / answer.span))
    if wanted <= len(answer.starts):
        return answer
    return ask(weights, video, process, views=wanted)


def _shown(
    weights: Weights, answer: Answer, over_time: Answer, video: Path, out: Path, top: int
) -> Shown:
    source = _source(weights, answer.fps)
    (height, width), longest = _write_film(video, out, source)
    first = answer.top(max(top, CURVES))
    members = [dict(answer.top(len(answer.classes), scores)) for _, scores in answer.members]
    lines = [Line(label, score, tuple(m[label] for m in members)) for label, score in first]
    return Shown(
        str(answer.video),
        quote(f"{out.parent.name}/{out.name}"),
        height,
        width,
        f"{source.name}, full colour at {longest:.2g} pixels per frame",
        tuple(lines[:top]),
        tuple(
            _points(over_time, over_time.views[:, answer.classes.index(label)])
            for label, _ in first[: min(top, CURVES)]
        ),
    )


def _source(weights: Weights, rate: float) -> FlowSource:
    """The network's own layer, or the layer on pixels of a network that has none."""
    has_layer = any(isinstance(layer, FlowIteration) for layer in weights.network.modules())
    return LearnedLayer(weights, rate) if has_layer else PixelLayer()


def _write_film(video: Path, out: Path, source: FlowSource) -> tuple[tuple[int, int], float]:
    """Frames and flow side by side; the size of each, and the length that has the full colour."""
    with frames_of(video) as stream:
        first, frames = begun(stream)
        size = shown_size(first.shape[:2], SIDE)
        zoom = math.ceil(SMALLEST / min(size))
        (longest,) = lengths_of(video, [source], size)
        count = 0
        with film(out, stream.rate, (zoom * size[0], 2 * zoom * size[1])) as show:
            for seen in watched(frames, [source], size):
                both = np.concatenate([seen.frame, *coloured(seen.fields, [longest])], axis=1)
                show(both.repeat(zoom, 0).repeat(zoom, 1))
                count += 1
        if not count:
            raise UserError(f"{video} has one frame, and motion is between two.")
    return (zoom * size[0], zoom * size[1]), longest


def _points(answer: Answer, scores: Scores) -> str:
    """A class's scores at the middles of the clips, level before the first and after the last."""
    last = max(1, answer.frames - 1)
    middles = [min(last, start + (answer.span - 1) / 2) for start in answer.starts]
    order = np.argsort(middles, kind="stable")
    xs = [0.0, *(middles[k] / last for k in order), 1.0]
    ys = [scores[order[0]], *(scores[k] for k in order), scores[order[-1]]]
    pairs = zip(xs, ys, strict=True)
    return " ".join(f"{WIDTH * x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in pairs)


def _png(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    """A picture as an address that holds all of it."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
