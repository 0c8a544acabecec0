"""What a network answers to videos as a page for a browser: each video with the flow over it, its
scores over time, and what each network of a late fusion says by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repflow_pl.data.decoding.isolated import IsolatedProcess
from repflow_pl.errors import UserError
from repflow_pl.layers.flow import flow_layers
from repflow_pl.showing.answers import Answer, Scores, ask, best_of
from repflow_pl.showing.fields import FlowSource, LearnedLayer, PixelLayer
from repflow_pl.showing.one_video import TIMEOUT
from repflow_pl.showing.overlay import Overlay, write_html, write_overlays
from repflow_pl.showing.watch import watching
from repflow_pl.showing.weights import Weights, name_of

SIDE = 240
"""Short side of the pictures in pixels."""
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
    overlay: Overlay
    lines: tuple[Line, ...]
    points: tuple[str, ...]
    """Of the first classes, the scores over time as the points of an SVG line."""


def write_page(
    page: Path, weights: Weights, answers: Sequence[Answer], videos: Sequence[Path], top: int
) -> list[UserError]:
    """Write the page, and the films it plays into a folder beside it; why videos are not on it.

    Args:
        videos: the files behind the answers, in their order; the answers say how they are called.

    Errors: UserError where the page cannot be written.
    """
    folder = page.with_name(f"{page.stem}_files")
    process = IsolatedProcess(TIMEOUT)
    shown, failed = [], []
    try:
        for number, (answer, video) in enumerate(zip(answers, videos, strict=True)):
            try:
                overlay = _overlay(weights, video, folder, str(number))
                over_time = _over_time(weights, answer, video, process)
            except UserError as error:  # such as: it has one frame
                failed.append(error)
            else:
                shown.append(_shown(answer, over_time, overlay, top))
    finally:
        process.stop()
    said = weights.described
    write_html(
        page,
        "answers.html",
        network=name_of(said.model),
        members=[name for name, _ in answers[0].members] if answers else [],
        card=said.card,
        shown=shown,
        width=WIDTH,
        height=HEIGHT,
    )
    return failed


def _over_time(weights: Weights, answer: Answer, video: Path, process: IsolatedProcess) -> Answer:
    """The answer with a clip for each half of a clip's length, where it has fewer."""
    wanted = min(MOST_CLIPS, math.ceil(2 * answer.frames / answer.span))
    if wanted <= len(answer.starts):
        return answer
    return ask(weights, video, process, views=wanted)


def _shown(answer: Answer, over_time: Answer, overlay: Overlay, top: int) -> Shown:
    best = best_of(answer.scores, top)  # by number: two classes may have one name
    return Shown(
        str(answer.video),
        overlay,
        tuple(
            Line(answer.classes[k], answer.scores[k], tuple(each[k] for _, each in answer.members))
            for k in best
        ),
        tuple(_points(over_time, over_time.views[:, k]) for k in best[:CURVES]),
    )


def _overlay(weights: Weights, video: Path, folder: Path, name: str) -> Overlay:
    """By the network's own layer, or by the layer on pixels where it has none."""

    def sources_at(rate: float) -> Sequence[FlowSource]:
        return [LearnedLayer(weights, rate) if flow_layers(weights.network) else PixelLayer()]

    with watching(video, sources_at, SIDE) as watched:
        (overlay,), _ = write_overlays(watched, folder, name)
    return overlay


def _points(answer: Answer, scores: Scores) -> str:
    """A class's scores at the middles of the clips, level before the first and after the last."""
    last = max(1, answer.frames - 1)
    middles = [min(last, start + (answer.span - 1) / 2) for start in answer.starts]
    order = np.argsort(middles, kind="stable")
    xs = [0.0, *(middles[k] / last for k in order), 1.0]
    ys = [scores[order[0]], *(scores[k] for k in order), scores[order[-1]]]
    pairs = zip(xs, ys, strict=True)
    return " ".join(f"{WIDTH * x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in pairs)
