"""A table as a picture, of the kind that the table names."""

from __future__ import annotations

from collections.abc import Sequence

from repflow_pl.report.collect import Collected
from repflow_pl.report.paper import PaperTable
from repflow_pl.report.plot_bars import bars
from repflow_pl.report.plot_curve import curve
from repflow_pl.report.plot_scatter import scatter
from repflow_pl.report.plot_style import drawn
from repflow_pl.report.rows import Context, Table

_KINDS = {"bars": bars, "curve": curve, "scatter": scatter}


def plot(
    table: Table, context: Context, collected: Sequence[Collected], paper: PaperTable | None
) -> bytes:
    """A PNG. The paper's figures stand in panels of their own, because they are of other data."""
    return drawn(lambda: _KINDS[table.plot](table, context, collected, paper))
