"""`repflow predict`: the top classes of each video, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from repflow_pl.errors import UserError
from repflow_pl.files import check_writable
from repflow_pl.layers.flow import flow_layers
from repflow_pl.showing.answers import Answer, ask_each
from repflow_pl.showing.answers_page import write_page
from repflow_pl.showing.bundled import DEMO, demo_videos
from repflow_pl.showing.loading import asked_weights
from repflow_pl.showing.one_video import videos_of
from repflow_pl.showing.options import PredictOptions
from repflow_pl.showing.weights import Weights

BAR = 20
"""Letters of a table's bar at a probability of 1."""


def predict(videos: Sequence[Path], options: PredictOptions) -> int:
    """Ask about each video and print the answers; 0, or 1 where one could not be read.

    Errors: UserError for weights that cannot be had, and where there is no video.
    """
    if bool(videos) == options.demo:
        raise UserError("name videos to ask about, or --demo, which brings its own.")
    if options.demo:
        return _demo(options)
    weights = asked_weights(options.weights, options.device, options.iterations, options.classes)
    return _tell(weights, list(videos_of(videos)), options)


def _demo(options: PredictOptions) -> int:
    weights = asked_weights(Path(DEMO), options.device, options.iterations, None)
    for layer in flow_layers(weights.network):
        layer.backend = "eager"  # to compile the others takes longer than four videos
    with tempfile.TemporaryDirectory() as folder:
        status = _tell(weights, demo_videos(Path(folder)), options, lambda path: Path(path.name))
    if not (options.json or options.csv):
        print(f"The names say what the videos show.\n\n{weights.described.card}")
    return status


def _tell(
    weights: Weights,
    videos: Sequence[Path],
    options: PredictOptions,
    called: Callable[[Path], Path] = lambda path: path,
) -> int:
    """Ask about each video, print the answers, write the page where one is asked for.

    `called`: how the file of a video is called in them.
    """
    if options.html is not None:
        check_writable(options.html.absolute().parent)
    found = [
        replace(each, video=called(each.video)) if isinstance(each, Answer) else each
        for each in ask_each(weights, videos)
    ]
    read = [path for path, each in zip(videos, found, strict=True) if isinstance(each, Answer)]
    answers = [each for each in found if isinstance(each, Answer)]
    if options.json:
        said = as_json(weights, [called(path) for path in videos], found, options.top)
        json.dump(said, sys.stdout, indent=1)
        print()
    elif options.csv:
        write_csv(answers, options.top, sys.stdout)
    elif answers:
        Console(soft_wrap=False).print(as_table(answers, options.top))
    failed = [each for each in found if isinstance(each, UserError)]
    if options.html is not None:
        failed += write_page(options.html, weights, answers, read, options.top)
        print(f"wrote {options.html}: open it in a browser", file=sys.stderr)
    for each in failed:
        print(f"error: {each}", file=sys.stderr)
    return 1 if failed else 0


def as_table(answers: Sequence[Answer], top: int) -> Table:
    """A line for each video and class; with the members' own answers where there are some, else
    with a bar."""
    members = [name for name, _ in answers[0].members] if answers else []
    table = Table()
    for name in ("video", "class", "score", *(members or [""])):
        table.add_column(name, overflow="fold")  # a name that is cut off may be another one's
    for answer in answers:
        ranked = answer.top(top)
        beside = [answer.top(top, scores) for _, scores in answer.members]
        for line, (label, score) in enumerate(ranked):
            others = (f"{each[line][0]} {each[line][1]:.3f}" for each in beside)
            table.add_row(
                Text("" if line else str(answer.video)),
                Text(label),
                f"{score:.3f}",
                *(map(Text, others) if members else ["█" * round(BAR * score)]),
                end_section=line == len(ranked) - 1,
            )
    return table


def write_csv(answers: Sequence[Answer], top: int, stream: TextIO) -> None:
    """A line for each video and class, with a header."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("video", "rank", "class", "score"))
    for answer in answers:
        for rank, (label, score) in enumerate(answer.top(top), start=1):
            writer.writerow((answer.video, rank, label, f"{score:.6f}"))


def as_json(
    weights: Weights, videos: Sequence[Path], found: Sequence[Answer | UserError], top: int
) -> dict[str, Any]:
    """The answers as plain values; a video without one has its error."""
    return {
        "classes": list(weights.described.classes),
        "videos": [
            {"video": str(path), "error": str(each)}
            if isinstance(each, UserError)
            else _video_json(each, top)
            for path, each in zip(videos, found, strict=True)
        ],
    }


def _video_json(answer: Answer, top: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "video": str(answer.video),
        "frames": answer.frames,
        "fps": answer.fps,
        "top": _ranked(answer.top(top)),
        "clips": [
            {"first_frame": start, "scores": [round(score, 6) for score in scores]}
            for start, scores in zip(answer.starts, answer.views.tolist(), strict=True)
        ],
    }
    if answer.members:
        said["members"] = [
            {"network": name, "top": _ranked(answer.top(top, scores))}
            for name, scores in answer.members
        ]
    return said


def _ranked(top: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"class": label, "score": round(score, 6)} for label, score in top]
