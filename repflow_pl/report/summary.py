"""A row's results as the figures a table prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from repflow_pl.report.collect import Collected, mean_of_all
from repflow_pl.report.paper import PaperFigure, PaperTable, is_accuracy
from repflow_pl.report.rows import Row, Table
from repflow_pl.report.stats import (
    Estimate,
    accuracy,
    difference,
    mean_interval,
    paired_difference,
)
from repflow_pl.report.times_beside import RowTime
from repflow_pl.training.recording.result import Latency

PAPER_COLUMN = "paper"
"""The one column of a table whose rows choose their columns of the paper's matrix."""


@dataclass(frozen=True)
class Summary:
    """Aggregates over a row's seeds. Accuracies are fractions."""

    top1: Estimate
    top5: Estimate
    clip_top1: float | None
    """None where a run has none."""
    parameters: int
    parameters_trained: int
    flops: int
    time: RowTime


def summarise(collected: Collected) -> Summary | None:
    """Means with intervals; times as taken in turns with the other rows, or else the median over
    seeds of what the runs took by themselves. None without any result."""
    results = collected.results
    if not results:
        return None
    time = collected.time or _own_time([result.latency for result in results])
    return Summary(
        top1=top1_of(collected),
        top5=(
            accuracy(collected.answers(best=5))
            if collected.predictions
            else mean_interval([result.top5 for result in results])
        ),
        clip_top1=mean_of_all([result.clip_top1 for result in results]),
        # These follow from the spec and are the same for every seed.
        parameters=results[0].parameters,
        parameters_trained=results[0].parameters_trained,
        flops=results[0].flops,
        time=time,
    )


def _own_time(latencies: Sequence[Latency]) -> RowTime:
    names = ("median_ms", "q25_ms", "q75_ms", "tvl1_ms", "ratio")
    return RowTime(
        *(statistics.median(getattr(each, name) for each in latencies) for name in names)
    )


def top1_of(collected: Collected) -> Estimate:
    """Over seeds and videos, or over seeds alone where no answers were kept."""
    if collected.predictions:
        return accuracy(collected.answers())
    return mean_interval([result.top1 for result in collected.results])


def top1_difference(a: Collected, b: Collected) -> Estimate | None:
    """a - b over the seeds that both have, video by video where both kept their answers to the same
    videos; None where they share no seed."""
    shared = a.top1.keys() & b.top1.keys()
    same = a.videos == b.videos
    if shared and same and a.predictions and b.predictions:
        return difference(a.answers(seeds=shared), b.answers(seeds=shared))
    return paired_difference(a.top1, b.top1)


def ranked(collected: Sequence[Collected]) -> list[Collected]:
    """Rows with results, the best mean top-1 first; equal ones in the order of the table."""
    measured = [entry for entry in collected if entry.results]
    return sorted(measured, key=lambda entry: -statistics.fmean(entry.top1.values()))


def paper_columns(table: Table, paper: PaperTable | None) -> tuple[str, ...]:
    """The columns a table has for the paper's figures."""
    if paper is None:
        return ()
    return (PAPER_COLUMN,) if any(row.paper_column for row in table.rows) else paper.columns


def paper_cell(row: Row, paper: PaperTable, column: str) -> PaperFigure | None:
    """The paper's figure for a row, None where it has none. Errors: UserError for unknown names."""
    if row.paper is None:
        return None
    if column == PAPER_COLUMN:
        return paper.figure(row.paper, row.paper_column) if row.paper_column else None
    return paper.figure(row.paper, column)


Figured = tuple[Collected, PaperFigure, float]
"""A row of which the paper has a number, with it."""


def figured_columns(
    table: Table, entries: Sequence[Collected], paper: PaperTable | None
) -> list[tuple[str, list[Figured]]]:
    """The paper's accuracy columns with a figure for at least one row, and these figures."""
    if paper is None:
        return []
    found = []
    for column in filter(is_accuracy, paper_columns(table, paper)):
        cells = [(entry, paper_cell(entry.row, paper, column)) for entry in entries]
        figures = [(e, cell, cell.value) for e, cell in cells if cell and cell.value is not None]
        found += [(column, figures)] if figures else []
    return found
