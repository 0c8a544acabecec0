"""What the pictures have in common: size, colours, bare axes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.report.rows import Context, Table
from repflow_pl.report.stats import Estimate

WIDTH_INCHES = 9.0
DPI = 200
"""1800 pixels: twice a README's width, sharp on dense screens."""

ACCENT, MUTED, CONTROL = "#c4512d", "#b4c1ca", "#dfe4e8"
INK, FAINT = "#22292f", "#76828c"
KINDS = (ACCENT, "#2b6a94", "#6d8a2f", "#8a5a9e", "#b98a1d", INK)
"""Of series and groups, in the order in which they come."""
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


def heading(figure: Figure, table: Table, context: Context) -> None:
    """The title of a table's picture."""
    write_title(figure, headline(table, context))


def headline(table: Table, context: Context) -> str:
    """What a table is and where it was measured, in short."""
    profile = " ".join(filter(None, (context.profile, "profile", context.backbone)))
    profile = ", ".join(filter(None, (profile, context.changes)))
    return f"{table.title}: {context.data}, {profile}"


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


def kind_colours(kinds: list[str | None]) -> dict[str | None, str]:
    """A colour for each series or group."""
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
        axis.text(
            0.99,
            0.02,
            f"{missing} of {rows} rows have no result",
            transform=axis.transAxes,
            ha="right",
            color=FAINT,
            style="italic",
            size=8.5,
        )
