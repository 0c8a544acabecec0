"""A table as a tidy data frame, one line a row, for people who compute with it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from repflow_pl.report.collect import Collected
from repflow_pl.report.costs import Cost
from repflow_pl.report.paper import PaperTable
from repflow_pl.report.rows import Context, Table
from repflow_pl.report.stats import Estimate
from repflow_pl.report.summary import PAPER_COLUMN, paper_cell, paper_columns, summarise
from repflow_pl.specs import spec_hash


def tidy(
    table: Table,
    context: Context,
    collected: Sequence[Collected],
    paper: PaperTable | None,
    costs: Sequence[Cost] = (),
) -> pd.DataFrame:
    """Every figure of a table, controls included. Accuracies are in per cent, like the paper's.

    `costs`: of each of `collected`, where there are columns for them.
    """
    frame = pd.DataFrame([_line(table, context, entry, paper) for entry in collected])
    if costs:
        frame["train_seconds"] = [_rounded(cost.train_seconds) for cost in costs]
        frame["step_ratio_to_rgb"] = [_rounded(cost.step_ratio) for cost in costs]
        frame["kept_bytes"] = [cost.kept_bytes for cost in costs]
    return frame


def _line(
    table: Table, context: Context, entry: Collected, paper: PaperTable | None
) -> dict[str, object]:
    results = entry.results
    summary = summarise(entry)
    time = summary.time if summary else entry.time
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
        # Text keeps whole numbers whole where other lines of the column are empty.
        "parameters": str(summary.parameters) if summary else None,
        "parameters_trained": str(summary.parameters_trained) if summary else None,
        "flops": str(summary.flops) if summary else None,
        "median_ms": _rounded(time.median_ms if time else None),
        "q25_ms": _rounded(time.q25_ms if time else None),
        "q75_ms": _rounded(time.q75_ms if time else None),
        "tvl1_ms": _rounded(time.tvl1_ms if time else None),
        "ratio_to_rgb": _rounded(time.ratio if time else None),
        "videos_test": _join(sorted({result.videos_test for result in results})),
        "videos_broken": _join(sorted({result.videos_broken for result in results})),
        "videos_missing": _join(sorted({result.videos_missing for result in results})),
        "videos_unread": _join(sorted({result.videos_unread for result in results})),
        "device": _join(sorted({result.device for result in results})),
        "fingerprint": _join(sorted({result.fingerprint for result in results})),
        "manifest": _join(sorted({result.manifest for result in results})),
        "spec": spec_hash(entry.row.spec),
        "chance": _percent(context.chance),
        "ceiling": None if context.ceiling is None else _percent(context.ceiling),
    }
    status = None
    for column in paper_columns(table, paper):
        cell = paper_cell(entry.row, paper, column) if paper is not None else None
        name = PAPER_COLUMN if column == PAPER_COLUMN else f"paper_{column}"
        line[name] = None if cell is None else cell.value
        status = status if cell is None else cell.status
    if paper is not None:
        line["paper_status"] = status
    return line


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
    names = (name, f"{name}_low", f"{name}_high")
    return {
        column: None if end is None else _percent(end)
        for column, end in zip(names, ends, strict=True)
    }


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _join(values: Sequence[object]) -> str:
    return ";".join(str(value) for value in values)
