"""Bars with intervals and seeds, and the paper's figures beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.report.collect import Collected
from repflow_pl.report.paper import UNVERIFIED_MARK, PaperTable, column_title
from repflow_pl.report.plot_style import (
    ACCENT,
    CLEAR,
    CONTROL,
    FAINT,
    INK,
    MUTED,
    WIDTH_INCHES,
    bare,
    label,
    name_groups,
    panel_title,
    panels,
    row_places,
)
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.summary import PAPER_COLUMN, Figured, figured_columns, ranked, summarise
from repflow_pl.report.wording import percent, with_interval

_LINE_HEIGHT, _LETTER_WIDTH = 0.36, 0.079
_FIGURE_WIDTH, _GAP = 0.074, 0.14
"""Inches of a figure of a bold interval, and of what is before and behind it."""
_HEAD, _FOOT = 1.1, 0.5
_CONTROL_GAP = 0.6
_MOST_PAPER_PANELS = 3


def bars(
    table: Table, context: Context, collected: Sequence[Collected], paper: PaperTable | None
) -> Figure:
    """The rows in the order of the table, under the headings of their groups, controls below."""
    main = [entry for entry in collected if not entry.row.control]
    entries = [*main, *(entry for entry in collected if entry.row.control)]
    groups = [entry.row.group for entry in main]
    places = row_places(groups)
    last = places[-1] + _CONTROL_GAP if places else -1.0
    places += [last + 1 + k for k in range(len(entries) - len(main))]
    columns = figured_columns(table, entries, paper)[:_MOST_PAPER_PANELS]
    figure, (measured, *others) = panels(
        f"{table.title}: {context.where}",
        _HEAD + _FOOT + _LINE_HEIGHT * (max(places, default=0.0) + 1),
        (1, 1 + len(columns)),
        left=0.3 + _LETTER_WIDTH * max((len(entry.row.name) for entry in entries), default=0),
        head=_HEAD,
        foot=_FOOT,
        sharey=True,
        width_ratios=[4.6, *[1.25] * len(columns)],
        wspace=0.08,
    )
    _measured_panel(measured, context, entries, places)
    name_groups(measured, groups, places[: len(main)])
    rows = {entry.row.name: place for entry, place in zip(entries, places, strict=True)}
    for axis, (column, figures) in zip(others, columns, strict=True):
        _paper_panel(axis, rows, column, figures)
    return figure


def _measured_panel(
    axis: Axes, context: Context, entries: Sequence[Collected], places: Sequence[float]
) -> None:
    order = ranked([entry for entry in entries if not entry.row.control])
    best = order[0] if order else None
    longest = 0
    for place, entry in zip(places, entries, strict=True):
        summary = summarise(entry)
        if summary is None:
            axis.text(
                1,
                place,
                entry.state,
                color=FAINT,
                style="italic",
                va="center",
                zorder=6,
                bbox=CLEAR,
            )
            continue
        top1, mean = summary.top1, 100 * summary.top1.mean
        colour = CONTROL if entry.row.control else ACCENT if entry is best else MUTED
        axis.barh(place, mean, height=0.66, color=colour, zorder=2)
        end = mean
        if top1.low is not None and top1.high is not None:
            end = 100 * top1.high
            axis.plot([100 * top1.low, end], [place, place], color=INK, lw=1.2, zorder=4)
        dots = [100 * value for value in entry.top1.values()]
        if len(dots) > 1:
            axis.scatter(
                dots, [place] * len(dots), s=15, color="white", edgecolor=INK, lw=0.8, zorder=5
            )
        interval = with_interval(top1)
        longest = max(longest, len(interval))
        weight, at = "bold" if entry is best else "normal", (max(end, *dots), place)
        label(axis, interval, at, (7, 0), va="center", size=9, weight=weight, zorder=6, bbox=CLEAR)
    _bound(axis, context.chance, f"chance {percent(context.chance)}", ":")
    if context.ceiling is not None:
        _bound(axis, context.ceiling, f"appearance alone {percent(context.ceiling)}", (0, (5, 3)))
    names = [entry.row.name for entry in entries]
    axis.set_yticks(places, names)
    bare(axis)
    axis.tick_params(axis="y", labelsize=10)
    for name, entry in zip(axis.get_yticklabels(), entries, strict=True):
        if entry is best:
            name.set_fontweight("bold")
        name.set_color(FAINT if entry.row.control else INK)
    axis.set_ylim(max(places, default=0.0) + 0.6, -0.6)
    # Room for the label of a bar that ends at 100.
    width = axis.get_position().width * WIDTH_INCHES
    axis.set_xlim(0, 100 * width / (width - _GAP - _FIGURE_WIDTH * longest))
    axis.set_xticks(range(0, 101, 20))
    axis.set_xlabel("top-1 of test videos, % (95 % interval; dots: seeds)", color=FAINT, size=9)


def _bound(axis: Axes, fraction: float, text: str, style: Any) -> None:
    """A vertical line with its name above; the two names keep clear by their sides of the line."""
    x = 100 * fraction
    axis.axvline(x, color=INK, lw=1, ls=style, zorder=3)
    above = (0, 4 if style == ":" else 17)
    label(axis, text, (x, 1), above, on=("data", "axes fraction"), size=8.5, color=INK)


def _paper_panel(
    axis: Axes, places: Mapping[str, float], column: str, figures: Sequence[Figured]
) -> None:
    values = [value for _, _, value in figures]
    low, top = min(values), max(values)
    for entry, cell, value in figures:
        at = value, places[entry.row.name]
        colour = ACCENT if value == top else FAINT
        axis.scatter(*at, s=34, facecolor="none", edgecolor=colour, lw=1.4, zorder=3)
        label(axis, str(cell), at, (6, 0), va="center", size=8.5, color=colour)
    # Half as wide again, for the labels right of the markers.
    axis.set_xlim(low - 0.25 * (top - low + 1), top + 0.9 * (top - low + 1))
    title = "the paper"
    if column != PAPER_COLUMN:
        title = "paper,\n" + textwrap.fill(column_title(column), 15)
    unverified = any(cell.unverified for _, cell, _ in figures)
    panel_title(axis, [title, f"{UNVERIFIED_MARK} unverified"] if unverified else [title])
    axis.set_xticks([])
    bare(axis)
    axis.spines["left"].set_visible(True)
    axis.spines["left"].set_color(CONTROL)
