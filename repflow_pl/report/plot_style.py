"""What the pictures have in common: size, colours, bare axes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, LogLocator, NullFormatter

from repflow_pl.report.stats import Estimate

WIDTH_INCHES = 9.0
DPI = 200
"""1800 pixels: twice a README's width, sharp on dense screens."""

ACCENT, MUTED, CONTROL = "#c4512d", "#b4c1ca", "#dfe4e8"
INK, FAINT = "#22292f", "#76828c"
KINDS = (ACCENT, "#2b6a94", "#6d8a2f", "#8a5a9e", "#b98a1d", INK)
"""Of series and groups."""
STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK}
PictureKind = Literal["png", "svg", "pdf"]
_UNSAID: dict[PictureKind, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""The version of matplotlib, and the day."""
CLEAR = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
"""A background that keeps grid and bounds out of a label."""


def drawn(draw: Callable[[], Figure], kind: PictureKind = "png") -> bytes:
    """A file of the figure; the same one is always the same file."""
    with rc_context({**STYLE, "svg.hashsalt": ""}):
        stream = io.BytesIO()
        draw().savefig(stream, format=kind, metadata=_UNSAID[kind])
    return stream.getvalue()


def panels(
    title: str,
    height: float,
    shape: tuple[int, int] = (1, 1),
    *,
    left: float,
    right: float = 0.135,
    head: float,
    foot: float,
    sharey: bool = False,
    **grid: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure under its title, and its panels in (lines, columns), line by line; height and
    margins in inches.

    `grid`: their spaces and ratios, as GridSpec has them.
    """
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI)
    grid |= {"left": left / WIDTH_INCHES, "right": 1 - right / WIDTH_INCHES}
    grid |= {"top": 1 - head / height, "bottom": foot / height}
    axes = figure.subplots(*shape, squeeze=False, sharey=sharey, gridspec_kw=grid)
    if title:
        write_title(figure, title)
    return figure, axes.flatten().tolist()


def write_title(figure: Figure, title: str) -> None:
    """A title at the left edge."""
    height = figure.get_size_inches()[1]
    figure.text(0.012, 1 - 0.28 / height, title, weight="bold", size=12, va="center")


def bare(axis: Axes) -> None:
    """No frame, faint numbers, a faint grid along x."""
    for side in axis.spines.values():
        side.set_visible(False)
    axis.tick_params(length=0, colors=FAINT, labelsize=9)
    axis.grid(axis="x", color="#edf0f2", lw=0.8)
    axis.set_axisbelow(True)


def ruled(axis: Axes) -> None:
    """Bare on a line, with the grid along y too."""
    bare(axis)
    axis.grid(axis="y", color="#edf0f2", lw=0.8)
    axis.spines["bottom"].set_visible(True)
    axis.spines["bottom"].set_color(CONTROL)


def logarithmic(axis: Axes, formatter: Formatter) -> None:
    """Along x, with ticks at 1, 2 and 5 of each power of ten."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(formatter)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(which="minor", length=0)


def row_places(groups: Sequence[str | None]) -> list[float]:
    """Each row's height, from the top: one line a row, and one for each group's heading."""
    places: list[float] = []
    place, before = -1.0, None
    for group in groups:
        place += 1 if group == before else 2
        before = group
        places.append(place)
    return places


def name_groups(axis: Axes, groups: Sequence[str | None], places: Sequence[float]) -> None:
    """Each group's name at the figure's left edge, a line above its first row."""
    before = None
    for group, place in zip(groups, places, strict=True):
        if group != before:
            before = group
            name_group(axis, group or "", place - 0.95)


def label(
    axis: Axes, text: str, at: tuple[float, float], by: tuple[float, float], on: Any = "data",
    **style: Any,
) -> None:  # fmt: skip
    """A text so many points (right, up) from a place on the data, or on other coordinates."""
    axis.annotate(text, at, xycoords=on, xytext=by, textcoords="offset points", **style)


def name_group(axis: Axes, name: str, place: float, size: float = 9.5) -> None:
    """Bold, at the figure's left edge."""
    axis.annotate(
        name, (0.012, place), xycoords=("figure fraction", "data"), va="center", weight="bold",
        size=size, annotation_clip=False,
    )  # fmt: skip


KindColours = Mapping[str | None, str]
"""Of each series or group."""


def kind_colours(kinds: Sequence[str | None]) -> KindColours:
    """A colour for each, in the order in which they come."""
    different = list(dict.fromkeys(kinds))
    return {kind: KINDS[k % len(KINDS)] for k, kind in enumerate(different)}


def error_bar(estimate: Estimate) -> tuple[float, float]:
    """How far an interval reaches below and above its mean, in per cent; 0 without one."""
    low = estimate.mean if estimate.low is None else estimate.low
    high = estimate.mean if estimate.high is None else estimate.high
    return 100 * (estimate.mean - low), 100 * (high - estimate.mean)


def panel_title(axis: Axes, lines: list[str], pad: float | None = None) -> None:
    """Small and faint, `pad` points above the panel's left edge."""
    axis.set_title("\n".join(lines), size=8.5, color=FAINT, loc="left", pad=pad)


def say_missing(axis: Axes, missing: int, rows: int) -> None:
    """How many rows have no point: a picture must not pass for a whole one."""
    if missing:
        said = f"{missing} of {rows} rows have no result"
        axis.annotate(  # beside the axis' title: within the panel lines and bars may be anywhere
            said, (1, 0), (0, -17), xycoords="axes fraction", textcoords="offset points",
            ha="right", va="top", color=FAINT, style="italic", size=8.5,
        )  # fmt: skip
