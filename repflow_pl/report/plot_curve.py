"""Accuracy over a quantity that the rows vary: one line a series, intervals as error bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from repflow_pl.report.collect import Collected
from repflow_pl.report.paper import UNVERIFIED_MARK, PaperTable, column_title
from repflow_pl.report.plot_style import (
    FAINT,
    INK,
    KindColours,
    error_bar,
    kind_colours,
    label,
    panel_title,
    panels,
    ruled,
    say_missing,
)
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.summary import PAPER_COLUMN, Figured, figured_columns, summarise
from repflow_pl.report.wording import percent

_HEIGHT, _HEAD, _FOOT, _LEFT = 4.4, 0.8, 0.55, 0.6
_DODGE = 1.025
"""Between two series, so that their error bars do not lie on one another."""
_MOST_PAPER_PANELS = 2


def curve(
    table: Table, context: Context, collected: Sequence[Collected], paper: PaperTable | None
) -> Figure:
    """The measured lines, and the paper's in panels with an axis of their own. No controls."""
    entries = [entry for entry in collected if not entry.row.control]
    columns = figured_columns(table, entries, paper)[:_MOST_PAPER_PANELS]
    figure, axes = panels(
        f"{table.title}: {context.where}",
        _HEIGHT,
        (1, 1 + len(columns)),
        left=_LEFT,
        head=_HEAD,
        foot=_FOOT,
        width_ratios=[2.0, *[1.15] * len(columns)],
        wspace=0.16,
    )
    colours = kind_colours([entry.row.series for entry in entries if entry.row.x is not None])
    _measured_panel(axes[0], context, entries, colours)
    for axis, (column, figures) in zip(axes[1:], columns, strict=True):
        _paper_panel(axis, column, figures, colours)
    for axis in axes:
        _logarithmic(axis, entries, table.x_title)
    return figure


def _measured_panel(
    axis: Axes, context: Context, entries: Sequence[Collected], colours: KindColours
) -> None:
    for k, (series, colour) in enumerate(colours.items()):
        points = [
            (entry.row.x * _DODGE**k, summary.top1)
            for entry in entries
            if entry.row.series == series
            and entry.row.x is not None
            and (summary := summarise(entry)) is not None
        ]
        points.sort(key=lambda point: point[0])
        axis.errorbar(
            [x for x, _ in points],
            [100 * top1.mean for _, top1 in points],
            np.transpose([error_bar(top1) for _, top1 in points]),
            color=colour,
            marker="o",
            ms=5.5,
            lw=1.6,
            elinewidth=1.1,
            capsize=3,
            label=series,
            zorder=4,
        )
    for entry in entries:
        summary = summarise(entry)
        if entry.row.x is None and summary is not None:
            _level(axis, 100 * summary.top1.mean, entry.row.name)
    low, high = axis.get_ylim() if axis.has_data() else (0.0, 100.0)
    axis.set_ylim(max(0.0, low), min(101.0, high))
    for bound, name in ((context.chance, "chance"), (context.ceiling, "appearance alone")):
        if bound is not None and axis.get_ylim()[0] <= 100 * bound <= axis.get_ylim()[1]:
            _level(axis, 100 * bound, f"{name} {percent(bound)}")
    say_missing(axis, sum(not entry.results for entry in entries), len(entries))
    panel_title(axis, ["top-1 of test videos, % (95 % interval)"])
    if any(series is not None for series in colours):
        axis.legend(
            frameon=False,
            fontsize=9,
            ncols=len(colours),
            loc="lower right",
            bbox_to_anchor=(1, 1),  # above the lines, wherever these are
            borderaxespad=0,
        )


def _paper_panel(axis: Axes, column: str, known: Sequence[Figured], colours: KindColours) -> None:
    for series, colour in colours.items():
        points = [(e.row.x, value) for e, _, value in known if e.row.series == series and e.row.x]
        points.sort()
        axis.plot(
            [x for x, _ in points],
            [value for _, value in points],
            color=colour,
            marker="o",
            ms=5.5,
            mfc="white",
            lw=1.0,
            ls=(0, (4, 2)),
        )
    for entry, _, value in known:
        if entry.row.x is None:
            _level(axis, value, entry.row.name)
    title = "the paper" if column == PAPER_COLUMN else f"the paper, {column_title(column)}"
    unverified = any(cell.unverified for _, cell, _ in known)
    panel_title(axis, [f"{title}, % ({UNVERIFIED_MARK} unverified)" if unverified else title])


def _level(axis: Axes, y: float, name: str) -> None:
    """A line across, its name above its left end."""
    axis.axhline(y, color=INK, lw=1, ls=":", zorder=2)
    label(axis, name, (0, y), (4, 2), on=("axes fraction", "data"), size=8.5, color=FAINT)


def _logarithmic(axis: Axes, entries: Sequence[Collected], title: str) -> None:
    """A tick at every x that a row has."""
    ruled(axis)
    values = sorted({entry.row.x for entry in entries if entry.row.x is not None})
    axis.set_xscale("log")
    axis.set_xlim(values[0] / 1.35, values[-1] * 1.35)
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel(title, color=FAINT, size=9)
