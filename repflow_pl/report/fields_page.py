"""The page that shows what flow layers see: fields of the same clips, before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from repflow_pl.quartiles import quartiles
from repflow_pl.report.page import csv_of, how_measured, page_text
from repflow_pl.report.plot_style import FAINT, WIDTH_INCHES, drawn, write_title
from repflow_pl.report.stats import Estimate, mean_interval
from repflow_pl.report.wording import bracketed, grid, with_interval

NAME = "fields"
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """What a place's flow layer sees between the first two frames of some clips."""

    place: str
    trained: bool
    lengths: npt.NDArray[np.float64]
    """[clips]: the mean length of a clip's vectors, in pixels of the input."""
    likeness: npt.NDArray[np.float64]
    """[clips]: the cosine between the whole field and TV-L1's."""
    pictures: tuple[Picture, ...]
    """Of the first clips: [H, W, 3] each."""

    @property
    def state(self) -> str:
        """In a word."""
        return "trained" if self.trained else "untrained"


def likeness(field: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """The cosine between two fields [2, H, W], each taken as one vector; 0 where one is 0."""
    lengths = float(np.linalg.norm(field) * np.linalg.norm(other))
    return float((field * other).sum()) / lengths if lengths else 0.0


def fields_picture(
    title: str, frames: Sequence[Picture], tvl1: Sequence[Picture], seen: Sequence[Seen]
) -> bytes:
    """A PNG: two lines for each frame, untrained above trained; a column for each place."""
    places = list(dict.fromkeys(each.place for each in seen))
    by_state = {(each.place, each.trained): each.pictures for each in seen}
    columns = ["first frame", "TV-L1", *places]

    def draw() -> Figure:
        size = WIDTH_INCHES / len(columns)
        height = size * 2 * len(frames) + 0.9
        figure = Figure(figsize=(WIDTH_INCHES, height))
        axes = figure.subplots(2 * len(frames), len(columns), squeeze=False)
        for line, row in enumerate(axes):
            clip, trained = divmod(line, 2)
            shown: list[Picture | None] = [None, None] if trained else [frames[clip], tvl1[clip]]
            shown += [by_state[place, bool(trained)][clip] for place in places]
            for axis, picture in zip(row, shown, strict=True):
                axis.set_axis_off()
                if picture is not None:
                    axis.imshow(picture)
            row[1].text(
                0.95, 0.5, "trained" if trained else "", transform=row[1].transAxes,
                ha="right", va="center", size=8, color=FAINT,
            )  # fmt: skip
        for axis, name in zip(axes[0], columns, strict=True):
            axis.set_title(name.replace("Flow layer on ", "").replace("After ", ""), size=8)
        figure.subplots_adjust(
            left=0.01, right=0.99, bottom=0.01, top=1 - 0.75 / height, wspace=0.04, hspace=0.04
        )
        write_title(figure, title)
        return figure

    return drawn(draw)


def fields_markdown(title: str, seen: Sequence[Seen], measured: Sequence[str]) -> str:
    """The whole page."""
    two = "{:.2f}".format
    lines = []
    for each in seen:
        length = bracketed(quartiles(each.lengths.tolist()), two, " to ")
        lines.append([each.place, each.state, length, with_interval(_cosine(each), two, " to ")])
    header = ["place", "weights", "length, pixels of the input", "cosine to TV-L1"]
    legend = (
        f"Over {len(seen[0].lengths)} test videos: median and quartiles of the mean length of the "
        "layer's vectors, and the mean cosine between its field and that of TV-L1 with its 95 % "
        "interval, 1 where they are the same up to a factor and 0 where they have nothing in "
        "common. "
        "In the picture each clip has two lines, above with fresh weights and below with trained "
        "ones. Direction is hue and length saturation, scaled to each field's longest vector. All "
        f"figures: [{NAME}.csv]({NAME}.csv)."
    )
    shows = "Fields of the same clips at each place"
    parts = [grid(header, lines, left=2), legend, *how_measured(measured)]
    return page_text(title, shows, NAME, parts)


def fields_csv(seen: Sequence[Seen]) -> str:
    """A line for each place and state."""
    lines = []
    for each in seen:
        cosine = _cosine(each)
        lines.append(
            {
                "place": each.place,
                "weights": each.state,
                "clips": len(each.lengths),
                **quartiles(each.lengths.tolist()).columns("length"),
                "cosine": cosine.mean,
                "cosine_low": cosine.low,
                "cosine_high": cosine.high,
            }
        )
    return csv_of(pd.DataFrame(lines), float_format="%.4g")


def _cosine(seen: Seen) -> Estimate:
    return mean_interval(seen.likeness.tolist(), -1.0)
