"""The training curves of a table's rows."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.report.collect import Collected
from repflow_pl.report.page import Beside, page_text
from repflow_pl.report.plot_style import (
    FAINT,
    MUTED,
    drawn,
    kind_colours,
    panel_title,
    panels,
    ruled,
)
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.run_curves import QUANTITIES, figures_of, shown
from repflow_pl.report.wording import grid
from repflow_pl.specs import spec_hash
from repflow_pl.training.recording.curve import CURVE

KIND = "curves"
VALIDATION, TRAINING = ("val_top1",), ("train_top1", "train_loss")
_COLUMNS, _PANEL, _HEAD, _FOOT = 4, 1.6, 1.0, 0.45
_LETTERS = 28
"""In a line above a panel, so that none reaches the next panel or the edge."""

Curves = dict[str, pd.DataFrame]
"""By row's name: a line an epoch and run, accuracies in per cent."""


def curve_page(
    table: Table, context: Context, collected: Sequence[Collected], runs: Path
) -> Beside | None:
    """The page, of the rows of which any run kept its curve; None where none did."""
    kept = [(entry, curves_of(entry, runs)) for entry in collected]
    entries = [entry for entry, curves in kept if curves is not None]
    curves = {entry.row.name: found for entry, found in kept if found is not None}
    if not curves:
        return None
    validated = all(found["val_top1"].notna().all() for found in curves.values())
    quantities = VALIDATION if validated else TRAINING
    what = "Accuracy on the validation part" if validated else "Training accuracy and loss"
    parts = [
        f"Of [{table.title}]({table.name}.md): {what.lower()} over the epochs. A panel a row: the "
        "mean over its runs, in a band from the least of them to the greatest; the other rows are "
        "grey. A late fusion trains nothing and has no curve.",
        _last_epochs(curves),
    ]
    picture = drawn(lambda: curve_figure(table, context, entries, curves, quantities))
    title = f"Training curves: {table.title}: {context.where}"
    shows = f"{what} over the epochs, a panel a row"
    page = page_text(title, shows, f"{table.name}_{KIND}", parts)
    return Beside(KIND, page, picture)


def curves_of(entry: Collected, runs: Path) -> pd.DataFrame | None:
    """The curves of the runs behind a row's results; None where none was kept."""
    paths = [
        runs / spec_hash(spec) / f"seed{result.seed}" / CURVE
        for spec in (entry.row.spec, *entry.row.other_splits)
        for result in entry.results
    ]
    kept = [path for path in paths if path.is_file()]
    return figures_of(kept) if kept else None


def _last_epochs(curves: Curves) -> str:
    lines = []
    for name, found in curves.items():
        last = found[found["epoch"] == found["epoch"].max()].mean(numeric_only=True)
        figures = [shown(each, last[each], decimals=2) for each in (*TRAINING, *VALIDATION)]
        lines.append([name, str(found["run"].nunique()), f"{last['epoch']:.0f}", *figures])
    titles = ["training top-1 (clip)", "training loss", "validation top-1"]
    table = grid(["row", "n", "epochs", *titles], lines)
    return f"At the last epoch, means over n runs:\n\n{table}"


def curve_figure(
    table: Table,
    context: Context,
    entries: Sequence[Collected],
    curves: Curves,
    quantities: Sequence[str],
) -> Figure:
    """A panel for each row and quantity; of one quantity all panels have the same axes."""
    lines = -(-len(entries) * len(quantities) // _COLUMNS)
    figure, axes = panels(
        f"{table.title}: {context.where}", _HEAD + lines * _PANEL + _FOOT, (lines, _COLUMNS),
        left=0.45, head=_HEAD, foot=_FOOT, hspace=0.75, wspace=0.22,
    )  # fmt: skip
    colours = kind_colours([entry.row.group for entry in entries])
    drawn_in = list(itertools.product(entries, quantities))
    for axis, (entry, quantity) in zip(axes, drawn_in, strict=False):
        _panel(axis, curves, entry.row.name, quantity, colours[entry.row.group])
        panel_title(axis, [*textwrap.wrap(entry.row.name, _LETTERS), QUANTITIES[quantity]])
    for axis in axes[len(drawn_in) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(drawn_in) - _COLUMNS) : len(drawn_in)]:
        axis.set_xlabel("epoch", color=FAINT, size=8.5)
    return figure


def _panel(axis: Axes, curves: Curves, name: str, quantity: str, colour: str) -> None:
    ruled(axis)
    axis.tick_params(labelsize=7.5)
    highest = max(found[quantity].max() for found in curves.values())
    axis.set(xlim=(0, max(f["epoch"].max() for f in curves.values()) + 1), ylim=(0, 1.05 * highest))
    for other, found in curves.items():
        by_epoch = found.groupby("epoch")[quantity]
        own = other == name
        axis.plot(
            by_epoch.mean(), color=colour if own else MUTED, lw=1.6 if own else 0.6, zorder=2 + own
        )
        if own and found["run"].nunique() > 1:
            low, high = by_epoch.min(), by_epoch.max()
            axis.fill_between(low.index, low, high, color=colour, alpha=0.25, lw=0, zorder=2.5)
