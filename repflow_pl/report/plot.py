"""A table as a picture: bars with intervals and seeds, and the paper's figures beside them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.report.collect import Collected
from repflow_pl.report.paper import UNVERIFIED_MARK, PaperTable, column_title, is_accuracy
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.summary import (
    PAPER_COLUMN,
    paper_cell,
    paper_columns,
    ranked,
    summarise,
)
from repflow_pl.report.wording import percent, with_interval

WIDTH_INCHES = 9.0
DPI = 200
"""1800 pixels: twice a README's width, sharp on dense screens."""

ACCENT, MUTED, CONTROL = "#c4512d", "#b4c1ca", "#dfe4e8"
INK, FAINT = "#22292f", "#76828c"
_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK}
_CLEAR = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""A background that keeps grid and bounds out of a label."""
_LINE_HEIGHT, _LETTER_WIDTH, _LABEL_WIDTH = 0.36, 0.079, 1.08
_HEAD, _FOOT = 1.1, 0.5
_CONTROL_GAP = 0.6
_MOST_PAPER_PANELS = 3


def plot(
    table: Table, context: Context, collected: Sequence[Collected], paper: PaperTable | None
) -> bytes:
    """A PNG: the rows in the order of the table, controls below them.

    The paper's figures stand in panels of their own, because they are of other data.
    """
    entries = sorted(collected, key=lambda entry: entry.row.control)
    places = _places(entries)
    columns = _shown_columns(table, entries, paper)
    height = _HEAD + _FOOT + _LINE_HEIGHT * (max(places, default=0.0) + 1)
    left = 0.3 + _LETTER_WIDTH * max((len(entry.row.name) for entry in entries), default=0)
    with rc_context(_STYLE):
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
        title = f"{table.title}: {context.data}, {context.profile} profile"
        figure.text(0.012, 1 - 0.28 / height, title, weight="bold", size=12, va="center")
        _measured_panel(axes[0], context, entries, places)
        for axis, column in zip(axes[1:], columns, strict=True):
            assert paper is not None  # there are no columns without it
            _paper_panel(axis, entries, places, paper, column)
        stream = io.BytesIO()
        # Without the version of matplotlib in it, the same table is the same file.
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _places(entries: Sequence[Collected]) -> list[float]:
    """Each row's height, from the top, with a gap before the first control after other rows."""
    mixed = len({entry.row.control for entry in entries}) > 1
    return [i + _CONTROL_GAP * (mixed and entry.row.control) for i, entry in enumerate(entries)]


def _shown_columns(
    table: Table, entries: Sequence[Collected], paper: PaperTable | None
) -> tuple[str, ...]:
    """The paper's accuracy columns with a figure for at least one row."""
    if paper is None:
        return ()
    shown = []
    for column in filter(is_accuracy, paper_columns(table, paper)):
        cells = [paper_cell(entry.row, paper, column) for entry in entries]
        if any(cell is not None and cell.value is not None for cell in cells):
            shown.append(column)
    return tuple(shown[:_MOST_PAPER_PANELS])


def _measured_panel(
    axis: Axes, context: Context, entries: Sequence[Collected], places: Sequence[float]
) -> None:
    order = ranked([entry for entry in entries if not entry.row.control])
    best = order[0] if order else None
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
                bbox=_CLEAR,
            )
            continue
        top1, mean = summary.top1, 100 * summary.top1.mean
        colour = CONTROL if entry.row.control else ACCENT if entry is best else MUTED
        axis.barh(place, mean, height=0.66, color=colour, zorder=2)
        end = mean
        if top1.half_width is not None:
            low = max(0.0, mean - 100 * top1.half_width)
            end = min(100.0, mean + 100 * top1.half_width)
            axis.plot([low, end], [place, place], color=INK, lw=1.2, zorder=4)
        dots = [100 * value for value in entry.top1.values()]
        if len(dots) > 1:
            axis.scatter(
                dots, [place] * len(dots), s=15, color="white", edgecolor=INK, lw=0.8, zorder=5
            )
        axis.annotate(
            with_interval(top1),
            (max(end, *dots), place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            size=9,
            weight="bold" if entry is best else "normal",
            zorder=6,
            bbox=_CLEAR,
        )
    _bound(axis, context.chance, f"chance {percent(context.chance)}", ":")
    if context.ceiling is not None:
        _bound(axis, context.ceiling, f"appearance alone {percent(context.ceiling)}", (0, (5, 3)))
    names = [entry.row.name for entry in entries]
    axis.set_yticks(places, names)
    _bare(axis)
    for label, entry in zip(axis.get_yticklabels(), entries, strict=True):
        if entry is best:
            label.set_fontweight("bold")
        label.set_color(FAINT if entry.row.control else INK)
    axis.set_ylim(max(places, default=0.0) + 0.6, -0.6)
    # Room for the label of a bar that ends at 100.
    width = axis.get_position().width * WIDTH_INCHES
    axis.set_xlim(0, 100 * width / (width - _LABEL_WIDTH))
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
    axis.set_title(
        title + (f"\n{UNVERIFIED_MARK} unverified" if unverified else ""),
        size=8.5,
        color=FAINT,
        loc="left",
    )
    axis.set_xticks([])
    _bare(axis)
    axis.spines["left"].set_visible(True)
    axis.spines["left"].set_color(CONTROL)


def _bare(axis: Axes) -> None:
    for side in axis.spines.values():
        side.set_visible(False)
    axis.tick_params(length=0, colors=FAINT, labelsize=9)
    axis.tick_params(axis="y", labelsize=10)
    axis.grid(axis="x", color="#edf0f2", lw=0.8)
    axis.set_axisbelow(True)
