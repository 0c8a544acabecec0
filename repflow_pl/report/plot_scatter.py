"""Accuracy over time per clip: one point a row, its name beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import ScalarFormatter

from repflow_pl.report.collect import Collected
from repflow_pl.report.labels import Box, place_labels
from repflow_pl.report.paper import UNVERIFIED_MARK, PaperTable, column_title
from repflow_pl.report.plot_style import (
    DPI,
    FAINT,
    INK,
    KindColours,
    error_bar,
    kind_colours,
    logarithmic,
    panel_title,
    panels,
    ruled,
    say_missing,
)
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.summary import Figured, figured_columns, paper_cell, summarise

_PANEL, _HEAD, _FOOT, _GAP, _LEFT = 4.6, 1.0, 0.55, 1.2, 0.6
_ABOVE_LEGEND = 20.0
"""Points from a panel to its title where its groups' names stand between them."""
_MARGIN = 3
"""Pixels around a name, as wide as its halo."""
_TIME, _TIME_SPREAD = "runtime_ms", "runtime_sd"


@dataclass(frozen=True)
class Point:
    """A row at its time (ms) and accuracy (per cent), with the ends of both intervals."""

    name: str
    group: str | None
    time: float
    times: tuple[float, float]
    top1: float
    interval: tuple[float, float]
    """How far it reaches below and above `top1`."""


def scatter(
    table: Table, context: Context, collected: Sequence[Collected], paper: PaperTable | None
) -> Figure:
    """The measured rows above; below, where the paper has times, its own figures. No controls."""
    entries = [entry for entry in collected if not entry.row.control]
    measured = [point for entry in entries if (point := _measured(entry)) is not None]
    columns = []
    if paper is not None and _TIME in paper.columns:  # accuracies over times, where it has both
        columns = figured_columns(table, entries, paper)
    count = 1 + bool(columns)
    figure, axes = panels(
        f"{table.title}: {context.where}",
        _HEAD + _FOOT + _PANEL * count + _GAP * (count - 1),
        (count, 1),
        left=_LEFT,
        head=_HEAD,
        foot=_FOOT,
        hspace=_GAP / _PANEL,
    )
    FigureCanvasAgg(figure)  # which knows how wide a label is
    colours = kind_colours([entry.row.group for entry in entries])
    title = "top-1 of test videos, % (95 % interval) over median ms per clip (quartiles)"
    if table.to_choose:
        _mark_front(axes[0], front(measured))
        title += "; ringed: no row is quicker and as good"
    _panel(axes[0], measured, colours, filled=True)
    panel_title(axes[0], [title], _ABOVE_LEGEND)
    say_missing(axes[0], len(entries) - len(measured), len(entries))
    if paper is not None and columns:
        column, figures = max(columns, key=lambda each: len(each[1]))
        _panel(axes[1], _paper_points(figures, paper), colours, filled=False)
        unverified = any(cell.unverified for _, cell, _ in figures)
        mark = f", {UNVERIFIED_MARK} unverified" if unverified else ""
        title = f"the paper: top-1 on {column_title(column)}, % over ms per clip (± sd){mark}"
        panel_title(axes[1], [title], _ABOVE_LEGEND)
    return figure


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats: none is as quick and more accurate, or as accurate and quicker.

    In the order of their times.
    """
    return sorted(
        (
            point
            for point in points
            if not any(
                other.time <= point.time
                and other.top1 >= point.top1
                and (other.time, other.top1) != (point.time, point.top1)
                for other in points
            )
        ),
        key=lambda point: point.time,
    )


def _mark_front(axis: Axes, best: Sequence[Point]) -> None:
    """A line that steps from one to the next: what each time buys at most."""
    at = [point.time for point in best], [point.top1 for point in best]
    axis.plot(*at, drawstyle="steps-post", color=INK, alpha=0.5, lw=1.2, zorder=2)
    axis.plot(*at, "o", ms=11, mfc="none", mec=INK, mew=1.0, zorder=5)


def _measured(entry: Collected) -> Point | None:
    summary = summarise(entry)
    if summary is None:
        return None
    return Point(
        entry.row.name,
        entry.row.group,
        summary.time.median_ms,
        (summary.time.q25_ms, summary.time.q75_ms),
        100 * summary.top1.mean,
        error_bar(summary.top1),
    )


def _paper_points(figures: Sequence[Figured], paper: PaperTable) -> list[Point]:
    def known(entry: Collected, column: str) -> float | None:
        cell = paper_cell(entry.row, paper, column) if column in paper.columns else None
        return None if cell is None else cell.value

    points = []
    for entry, _, top1 in figures:
        time, sd = known(entry, _TIME), known(entry, _TIME_SPREAD) or 0.0
        if time is not None:
            times = time - sd, time + sd
            points.append(Point(entry.row.name, entry.row.group, time, times, top1, (0.0, 0.0)))
    return points


def _panel(axis: Axes, points: Sequence[Point], colours: KindColours, filled: bool) -> None:
    for group, colour in colours.items():
        members = [point for point in points if point.group == group]
        axis.errorbar(
            [point.time for point in members],
            [point.top1 for point in members],
            [[point.interval[side] for point in members] for side in (0, 1)],
            [
                [point.time - point.times[0] for point in members],
                [point.times[1] - point.time for point in members],
            ],
            fmt="o",
            ms=6.5,
            color=colour,
            mfc=colour if filled else "white",
            mew=1.4,
            elinewidth=0.9,
            label=group,
            zorder=4,
        )
    _logarithmic(axis, points)
    if any(group is not None for group in colours):
        axis.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(colours), frameon=False,
            fontsize=9, borderaxespad=0.2, handletextpad=0.1, columnspacing=1.2,
        )  # fmt: skip
    _name(axis, points, colours)


def _logarithmic(axis: Axes, points: Sequence[Point]) -> None:
    ruled(axis)
    logarithmic(axis, ScalarFormatter())
    axis.set_xlabel("ms per clip, logarithmic", color=FAINT, size=9)
    if points:
        times = [time for point in points for time in (*point.times, point.time)]
        axis.set_xlim(min(times) / 1.5, max(times) * 1.8)  # room for names
        low = min(point.top1 - point.interval[0] for point in points)
        high = max(point.top1 + point.interval[1] for point in points)
        room = 0.12 * (high - low) + 0.5
        axis.set_ylim(max(low - room, -1.0), min(high + room, 103.0))


def _name(axis: Axes, points: Sequence[Point], colours: KindColours) -> None:
    """Each point's name where there is room, with a thin line to the point if that is far."""
    figure = axis.figure
    assert isinstance(figure, Figure) and isinstance(figure.canvas, FigureCanvasAgg)
    renderer = figure.canvas.get_renderer()
    axis.apply_aspect()
    to_pixels = axis.transData.transform
    places = [tuple(to_pixels((point.time, point.top1))) for point in points]
    halo = [withStroke(linewidth=2.5, foreground="white")]
    style: dict[str, Any] = {"size": 8.5, "va": "bottom", "path_effects": halo, "zorder": 6}
    texts = [
        axis.text(0, 0, point.name, color=colours[point.group], transform=None, **style)
        for point in points
    ]
    sizes = []
    for text in texts:
        extent = text.get_window_extent(renderer)
        sizes.append((extent.width + 2 * _MARGIN, extent.height + 2 * _MARGIN))
    obstacles = []
    marker = 9 * DPI / 72
    for point, (x, y) in zip(points, places, strict=True):
        obstacles.append(Box(x - marker / 2, y - marker / 2, marker, marker))
        below, above = point.interval
        low, high = (to_pixels((point.time, point.top1 + d))[1] for d in (-below, above))
        obstacles.append(Box(x - 4, low, 8, high - low))
        left, right = (to_pixels((time, point.top1))[0] for time in point.times)
        obstacles.append(Box(left, y - 4, right - left, 8))
    bounds = axis.get_window_extent(renderer)
    frame = Box(bounds.x0, bounds.y0, bounds.width, bounds.height)
    for text, (x, y), box in zip(
        texts, places, place_labels(places, sizes, obstacles, frame), strict=True
    ):
        text.set_position((box.x + _MARGIN, box.y + _MARGIN))
        near_x = min(max(x, box.x), box.x + box.width)
        near_y = min(max(y, box.y), box.y + box.height)
        if (near_x - x) ** 2 + (near_y - y) ** 2 > (1.2 * marker) ** 2:
            back = axis.transData.inverted().transform
            ends = zip(back((x, y)), back((near_x, near_y)), strict=True)
            axis.plot(*ends, color=INK, alpha=0.35, lw=0.7, zorder=3)
