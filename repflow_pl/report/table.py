"""A table of the paper: describe it with Row and Table, then render it from result files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from repflow_pl.report.claims import claims_of, write_claims
from repflow_pl.report.classes import class_page
from repflow_pl.report.collect import Collected, Failure, collect, whole_seeds
from repflow_pl.report.costs import costs_of
from repflow_pl.report.curves import curve_page
from repflow_pl.report.markdown import markdown
from repflow_pl.report.page import Rendered, csv_of, write_beside, write_page
from repflow_pl.report.paper import PAPER_FOLDER, paper_figures
from repflow_pl.report.plot_bars import bars
from repflow_pl.report.plot_curve import curve
from repflow_pl.report.plot_scatter import scatter
from repflow_pl.report.plot_style import drawn
from repflow_pl.report.rows import Context, MetadataBaseline, Ordering, Row, Table
from repflow_pl.report.tidy import tidy
from repflow_pl.report.times_beside import bring_times, gpu_pages, times_beside

__all__ = [
    "Collected",
    "Context",
    "Failure",
    "MetadataBaseline",
    "Ordering",
    "Rendered",
    "Row",
    "Table",
    "collect",
    "render",
]

FIGURES = {"bars": bars, "curve": curve, "scatter": scatter}
"""What draws a table. The paper's figures stand in panels of their own: they are of other data."""


def render(
    table: Table,
    context: Context,
    runs: Path,
    seeds: Sequence[int],
    out: Path = Path("tables"),
    paper_folder: Path = PAPER_FOLDER,
    replace: bool = False,
) -> Rendered:
    """Write `<out>/<folder>/<table>.{md,csv,png}` from the results in `runs`.

    Where there are predictions or curves, so are `<table>_classes` and `<table>_curves.{md,png}`.
    Those of `seeds` without results are printed as missing or FAILED; a row's further ones, as of
    runs that it shares with other tables, count too. See `write_page` for what stays.
    Errors: UserError for a damaged result, an unknown row of the paper, an unwritable place.
    """
    folder = context.folder or context.data
    stem = out / folder / table.name
    collected = [
        collect(runs, row, sorted({*seeds, *whole_seeds(runs, row)})) for row in table.rows
    ]
    bring_times(runs.parent / folder, stem.parent, table.name)  # of published results
    times = times_beside(stem.parent, table.name)
    if all(row.name in times for row in table.main_rows):  # else they are of other rows
        collected = [dataclasses.replace(e, time=times.get(e.row.name)) for e in collected]
    paper = paper_figures(table.paper_csv, paper_folder) if table.paper_csv else None
    # Everything is made before anything is written: a mistake leaves the old three files in step.
    found = class_page(table, context, collected), curve_page(table, context, collected, runs)
    beside = [page for page in found if page is not None]
    claims = claims_of(table, collected, paper)
    costs = costs_of(runs, collected) if table.to_choose else {}
    on_gpus = gpu_pages(stem.parent, table.name)
    page = markdown(table, context, collected, paper, claims, beside, costs, on_gpus)
    lines = csv_of(tidy(table, context, collected, paper, costs))
    picture = drawn(lambda: FIGURES[table.plot](table, context, collected, paper))
    files = write_page(stem, page, lines, picture, replace)
    if not files.kept:
        write_beside(stem, beside)
        if paper and claims:
            write_claims(stem, claims)
    return files
