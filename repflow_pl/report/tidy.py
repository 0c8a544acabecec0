"""A table as a tidy data frame, one line a row, for people who compute with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from repflow_pl.report.collect import Collected
from repflow_pl.report.costs import Cost
from repflow_pl.report.paper import PaperTable
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.stats import Estimate
from repflow_pl.report.summary import PAPER_COLUMN, paper_cell, paper_columns, summarise
from repflow_pl.specs import spec_hash

_OF_RESULTS = (
    "videos_test",
    "videos_broken",
    "videos_missing",
    "videos_unread",
    "device",
    "fingerprint",
    "manifest",
)
"""What the results of a row may differ in: each value once."""


def tidy(
    table: Table,
    context: Context,
    collected: Sequence[Collected],
    paper: PaperTable | None,
    costs: Mapping[str, Cost],
) -> pd.DataFrame:
    """Every figure of a table, controls included. Accuracies are in per cent, like the paper's.

    `costs`: by row, where there are columns for them.
    """
    frame = pd.DataFrame([_line(table, context, entry, paper) for entry in collected])
    if costs:
        of_rows = [costs[entry.row.name] for entry in collected]
        frame["train_seconds"] = [_rounded(cost.train_seconds) for cost in of_rows]
        frame["step_ratio_to_rgb"] = [_rounded(cost.step_ratio) for cost in of_rows]
        frame["kept_bytes"] = [cost.kept_bytes for cost in of_rows]
    return frame


def _line(
    table: Table, context: Context, entry: Collected, paper: PaperTable | None
) -> dict[str, object]:
    results = entry.results
    summary = summarise(entry)
    time = summary.time if summary else entry.time

    def timed(name: str) -> float | None:
        return _rounded(getattr(time, name)) if time else None

    def count(name: str) -> str | None:
        """Text keeps whole numbers whole where other lines of the column are empty."""
        return str(getattr(summary, name)) if summary else None

    def each(name: str) -> str:
        return _join(sorted({getattr(result, name) for result in results}))

    line: dict[str, object] = {
        "table": table.name,
        "data": context.data,
        "profile": ", ".join(filter(None, (context.profile, context.changes))),
        **_places(table, context, entry),
        "row": entry.row.name,
        "control": entry.row.control,
        "state": entry.state,
        "n": len(results),
        "seeds": _join([result.seed for result in results]),
        **_estimate("top1", summary.top1 if summary else None),
        "top1_by_seed": _join([_percent(result.top1) for result in results]),
        **_estimate("top5", summary.top5 if summary else None),
        "clip_top1": _percent(summary.clip_top1) if summary else None,
        **{name: count(name) for name in ("parameters", "parameters_trained", "flops")},
        **{name: timed(name) for name in ("median_ms", "q25_ms", "q75_ms", "tvl1_ms")},
        "ratio_to_rgb": timed("ratio"),
        **{name: each(name) for name in _OF_RESULTS},
        "spec": spec_hash(entry.row.spec),
        "chance": _percent(context.chance),
        "ceiling": _percent(context.ceiling),
    }
    if paper is None:
        return line
    cells = {column: paper_cell(entry.row, paper, column) for column in paper_columns(table, paper)}
    for column, cell in cells.items():
        name = PAPER_COLUMN if column == PAPER_COLUMN else f"paper_{column}"
        line[name] = None if cell is None else cell.value
    statuses = [cell.status for cell in cells.values() if cell is not None]
    return line | {"paper_status": statuses[-1] if statuses else None}


def _places(table: Table, context: Context, entry: Collected) -> dict[str, object]:
    """What a row may have beside its name; a column only where the table has it."""
    line: dict[str, object] = {}
    if context.backbone is not None:
        line["backbone"] = context.backbone
    if any(row.group for row in table.rows):
        line["group"] = entry.row.group
    if any(row.series for row in table.rows):
        line["series"] = entry.row.series
    if any(row.x is not None for row in table.rows):
        line["x"] = None if entry.row.x is None else f"{entry.row.x:g}"
    return line


def _estimate(name: str, estimate: Estimate | None) -> dict[str, object]:
    ends = (estimate.mean, estimate.low, estimate.high) if estimate else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(_percent, ends), strict=True))


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else _rounded(100 * fraction)


def _rounded(value: float | None) -> float | None:
    """To four digits, the same whatever error a sum has: Python's own differs from 3.12 on."""
    return None if value is None else round(round(value, 9), 4)


def _join(values: Sequence[object]) -> str:
    return ";".join(str(value) for value in values)
