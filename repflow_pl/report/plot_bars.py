"""Bars with intervals and seeds, and the paper's figures beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.report.collect import Collected
from repflow_pl.report.paper import UNVERIFIED_MARK, PaperTable, column_title
from repflow_pl.report.plot_style import (
    ACCENT,
    CLEAR,
    CONTROL,
    DPI,
    FAINT,
    INK,
    MUTED,
    WIDTH_INCHES,
    bare,
    heading,
    panel_title,
)
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.summary import (
    PAPER_COLUMN,
    figured_columns,
    paper_cell,
    ranked,
    summarise,
)
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
    entries = sorted(collected, key=lambda entry: entry.row.control)
    places = _places(entries)
    columns = figured_columns(table, entries, paper)[:_MOST_PAPER_PANELS]
    height = _HEAD + _FOOT + _LINE_HEIGHT * (max(places, default=0.0) + 1)
    left = 0.3 + _LETTER_WIDTH * max((len(entry.row.name) for entry in entries), default=0)
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI)
    axes = figure.subplots(
        1,
        1 + len(columns),
        sharey=True,
        squeeze=False,
        gridspec_kw={"width_ratios": [4.6, *[1.25] * len(columns)], "wspace": 0.08},
    )[0]
    figure.subplots_adjust(
        left=left / WIDTH_INCHES, right=0.985, top=1 - _HEAD / height, bottom=_FOOT / height
    )
    heading(figure, table, context)
    _measured_panel(axes[0], context, entries, places)
    _group_headings(axes[0], entries, places)
    for axis, column in zip(axes[1:], columns, strict=True):
        assert paper is not None  # there are no columns without it
        _paper_panel(axis, entries, places, paper, column)
    return figure


def _places(entries: Sequence[Collected]) -> list[float]:
    """Each row's height, from the top: a line for the heading of each group, and a gap before the
    first control after other rows."""
    mixed = len({entry.row.control for entry in entries}) > 1
    places, place = [], -1.0
    group = None
    for k, entry in enumerate(entries):
        place += 1
        if mixed and entry.row.control and not entries[k - 1].row.control:
            place += _CONTROL_GAP
        elif not entry.row.control and entry.row.group != group:
            group = entry.row.group
            place += 1
        places.append(place)
    return places


def _group_headings(axis: Axes, entries: Sequence[Collected], places: Sequence[float]) -> None:
    """Each group's name at the figure's left edge, a line above its first row."""
    group = None
    for entry, place in zip(entries, places, strict=True):
        if not entry.row.control and entry.row.group != group:
            group = entry.row.group
            axis.annotate(
                group or "",
                (0.012, place - 0.95),
                xycoords=("figure fraction", "data"),
                va="center",
                weight="bold",
                size=9.5,
                annotation_clip=False,
            )


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
        axis.annotate(
            interval,
            (max(end, *dots), place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            size=9,
            weight="bold" if entry is best else "normal",
            zorder=6,
            bbox=CLEAR,
        )
    _bound(axis, context.chance, f"chance {percent(context.chance)}", ":")
    if context.ceiling is not None:
        _bound(axis, context.ceiling, f"appearance alone {percent(context.ceiling)}", (0, (5, 3)))
    names = [entry.row.name for entry in entries]
    axis.set_yticks(places, names)
    bare(axis)
    axis.tick_params(axis="y", labelsize=10)
    for label, entry in zip(axis.get_yticklabels(), entries, strict=True):
        if entry is best:
            label.set_fontweight("bold")
        label.set_color(FAINT if entry.row.control else INK)
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
    axis.annotate(
        text,
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4 if style == ":" else 17),
        textcoords="offset points",
        size=8.5,
        color=INK,
    )


def _paper_panel(
    axis: Axes,
    entries: Sequence[Collected],
    places: Sequence[float],
    paper: PaperTable,
    column: str,
) -> None:
    cells = [paper_cell(entry.row, paper, column) for entry in entries]
    known = [
        (place, cell, cell.value)
        for place, cell in zip(places, cells, strict=True)
        if cell is not None and cell.value is not None
    ]
    top = max(value for _, _, value in known)
    for place, cell, value in known:
        colour = ACCENT if value == top else FAINT
        axis.scatter(value, place, s=34, facecolor="none", edgecolor=colour, lw=1.4, zorder=3)
        axis.annotate(
            str(cell),
            (value, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            size=8.5,
            color=colour,
        )
    # Half as wide again, for the labels right of the markers.
    low = min(value for _, _, value in known)
    axis.set_xlim(low - 0.25 * (top - low + 1), top + 0.9 * (top - low + 1))
    unverified = any(cell.unverified for _, cell, _ in known)
    title = (
        "the paper"
        if column == PAPER_COLUMN
        else "paper,\n" + textwrap.fill(column_title(column), 15)
    )
    panel_title(axis, [title, f"{UNVERIFIED_MARK} unverified"] if unverified else [title])
    axis.set_xticks([])
    bare(axis)
    axis.spines["left"].set_visible(True)
    axis.spines["left"].set_color(CONTROL)
