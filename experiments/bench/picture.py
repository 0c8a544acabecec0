"""What the benchmarks' pictures have in common, and the one of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.quartiles import Quartiles
from repflow_pl.report.plot_style import ACCENT, DPI, FAINT, INK, WIDTH_INCHES, drawn

LEGEND: dict[str, Any] = {"loc": "upper left", "frameon": False, "fontsize": 8}
COLOURS = {"fused": ACCENT, "eager": FAINT, "compile": "#3d6f94"}


@dataclass(frozen=True)
class Bar:
    """A name, lengths by colour from the left, and the spread of the whole."""

    name: str
    parts: Sequence[tuple[str, float]]
    whole: Quartiles


def bars(
    bars: Sequence[Bar],
    title: str,
    label: str,
    height: float,
    aim: float | None = None,
    legend: Mapping[str, str] | None = None,
) -> bytes:
    """A PNG of so many inches; `legend`: colours by what they mean."""
    head, foot, above = (0.572, 0.52, 0.208) if legend else (0.55, 0.55, 0.35)  # inches

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI)
        axis = figure.subplots()
        figure.subplots_adjust(left=0.26, right=0.985, top=1 - head / height, bottom=foot / height)
        for place, bar in enumerate(bars):
            left = 0.0
            for colour, length in bar.parts:
                axis.barh(place, length, left=left, color=colour, height=0.6)
                left += length
            middle = bar.whole.median
            errors = [[middle - bar.whole.low], [bar.whole.high - middle]]
            axis.errorbar(middle, place, xerr=errors, color=INK, capsize=2, lw=1)
        for meaning, colour in (legend or {}).items():
            axis.barh(0, 0, color=colour, label=meaning)
        if aim is not None:
            axis.axvline(aim, color=INK, lw=1, ls=(0, (3, 2)))
        axis.set_yticks(range(len(bars)), [bar.name for bar in bars])
        axis.invert_yaxis()
        axis.set_xlabel(label, color=FAINT)
        open_frame(axis)
        write_title(figure, title, 1 - above / height)
        if legend:
            figure.legend(ncols=len(legend), bbox_to_anchor=(0.005, 0.9), **LEGEND)
        return figure

    return drawn(draw)


def open_frame(axis: Axes) -> None:
    """Without its upper and right side; faint numbers."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=FAINT, labelsize=9)


def write_title(figure: Figure, title: str, height: float) -> None:
    """At the left edge, with its foot at a part of the figure's height."""
    figure.text(0.012, height, title, weight="bold", size=12)
