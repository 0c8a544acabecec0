"""Run times as bars on a logarithmic axis, the paper's beside them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from repflow_pl.report.plot_style import (
    ACCENT,
    FAINT,
    INK,
    KINDS,
    bare,
    label,
    logarithmic,
    name_groups,
    panels,
    row_places,
)
from repflow_pl.report.runtime_rows import RuntimeRow
from repflow_pl.report.wording import significant

_LINE_HEIGHT, _HEAD, _FOOT, _LEFT, _RIGHT = 0.29, 0.95, 0.55, 2.95, 2.05
_NETWORK, _WITH_TVL1, _PAPER = KINDS[1], ACCENT, INK
_COLUMNS = ((0.55, "here"), (1.2, "paper"), (1.95, "ms here"))
"""Right edges in inches beyond the axis, and headings of the figures there."""


def runtime_figure(rows: Sequence[RuntimeRow], title: str, fields: str = "TV-L1") -> Figure:
    """A bar from 1, the RGB row's time, to each row's ratio to it, with quartiles; the rows in the
    order of the table, under the headings of their groups.

    `fields`: what is part of the time of some rows.
    """
    groups = [row.group for row in rows]
    places = row_places(groups)
    height = _HEAD + _FOOT + _LINE_HEIGHT * (max(places, default=0.0) + 1)
    figure, (axis,) = panels(title, height, left=_LEFT, right=_RIGHT, head=_HEAD, foot=_FOOT)
    for place, row in zip(places, rows, strict=True):
        _bar(axis, place, row)
    _logarithmic(axis, rows)
    axis.set_yticks(places, [row.name for row in rows])
    axis.tick_params(axis="y", labelsize=9.5, colors=INK)
    axis.set_ylim(max(places, default=0.0) + 0.6, -0.6)
    name_groups(axis, groups, places)
    _figures(axis, rows, places)
    _legend(figure, height, fields, any(row.paper_ratio is not None for row in rows))
    return figure


def _bar(axis: Axes, place: float, row: RuntimeRow) -> None:
    colour = _WITH_TVL1 if row.tvl1_share else _NETWORK
    # From 1 on: the length is the logarithm of how many times as long as RGB.
    axis.barh(place, row.ratio.median - 1, left=1, height=0.6, color=colour, alpha=0.45, zorder=2)
    axis.plot(row.ratio.median, place, marker="|", ms=9, mew=1.8, color=colour, zorder=4)
    axis.plot([row.ratio.low, row.ratio.high], [place, place], color=INK, lw=1.3, zorder=5)
    if row.paper_ratio is not None:
        axis.plot(
            row.paper_ratio, place, marker="D", ms=5, mfc="white", mec=_PAPER, mew=1.1, zorder=6
        )


def _logarithmic(axis: Axes, rows: Sequence[RuntimeRow]) -> None:
    bare(axis)
    logarithmic(axis, FuncFormatter(lambda value, _: f"{value:g}"))
    ends = [1.0, *(end for row in rows for end in (row.ratio.low, row.ratio.high))]
    ends += [row.paper_ratio for row in rows if row.paper_ratio is not None]
    axis.set_xlim(min(ends) / 1.25, max(ends) * 1.25)
    axis.axvline(1, color=FAINT, lw=1, zorder=1)
    axis.set_xlabel("time over that of the RGB row, logarithmic", color=FAINT, size=9)


def _figures(axis: Axes, rows: Sequence[RuntimeRow], places: Sequence[float]) -> None:
    """The numbers in columns at the right, where no bar and no mark is in their way."""
    known = any(row.paper_ratio is not None for row in rows)
    for inches, heading in _COLUMNS:
        if known or heading != "paper":
            _at_right(axis, inches, min(places, default=0.0) - 0.95, heading, FAINT)
    for place, row in zip(places, rows, strict=True):
        paper = "" if row.paper_ratio is None else f"{significant(row.paper_ratio)} ×"
        texts = f"{significant(row.ratio.median)} ×", paper, significant(row.total_ms.median)
        for (inches, _), text, colour in zip(_COLUMNS, texts, (INK, FAINT, FAINT), strict=True):
            _at_right(axis, inches, place, text, colour)


def _at_right(axis: Axes, inches: float, place: float, text: str, colour: str) -> None:
    place_on = ("axes fraction", "data")
    label(
        axis, text, (1, place), (72 * inches, 0), on=place_on, ha="right", va="center", size=9,
        color=colour, annotation_clip=False,
    )  # fmt: skip


def _legend(figure: Figure, height: float, fields: str, paper: bool) -> None:
    marks = [
        Patch(color=_NETWORK, alpha=0.45, label="the network alone"),
        Patch(color=_WITH_TVL1, alpha=0.45, label=f"with {fields} extraction"),
        Line2D([], [], color=INK, lw=1.3, label="quartiles"),
    ]
    if paper:
        marks.append(
            Line2D([], [], ls="", marker="D", ms=5, mfc="white", mec=_PAPER, label="the paper")
        )
    figure.legend(
        handles=marks,
        frameon=False,
        fontsize=9,
        ncols=len(marks),
        loc="center left",
        bbox_to_anchor=(0.0, 1 - 0.62 / height),
        columnspacing=1.6,
    )
