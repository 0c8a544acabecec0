"""A table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repflow_pl.report.claims import Claim
from repflow_pl.report.claims_page import effect_cells
from repflow_pl.report.collect import Collected
from repflow_pl.report.costs import Cost
from repflow_pl.report.page import BESIDE, Beside, bullets, how_measured, page_text
from repflow_pl.report.paper import NOT_KNOWN, UNVERIFIED_MARK, PaperTable, column_title
from repflow_pl.report.provenance import measured
from repflow_pl.report.rows import Context, Row, Table
from repflow_pl.report.stats import EVEN, SEED_FREEDOM, verdict
from repflow_pl.report.summary import (
    PAPER_COLUMN,
    figured_columns,
    paper_cell,
    paper_columns,
    ranked,
    summarise,
    top1_difference,
)
from repflow_pl.report.times_beside import RowTime, page_of
from repflow_pl.report.wording import (
    duration,
    grid,
    p_value,
    percent,
    points,
    significant,
    where_in_full,
    with_interval,
)
from repflow_pl.specs import DataStream, ModelSpec, streams_of

PLOTS = {
    "bars": "Top-1 of each row, with 95 % intervals",
    "curve": "Top-1 over {x}, with 95 % intervals",
    "scatter": "Top-1 over time per clip, with 95 % intervals",
}
"""What a picture shows, for who cannot see it."""

FIELDS: dict[DataStream, str] = {
    "tvl1": "TV-L1",
    "tvl1_twice": "TV-L1",
    "vectors": "vectors",
    "raft": "RAFT",
}
"""Fields of motion, whose making is part of a row's time."""

_COSTS = ("training", "training step × RGB", "MB a clip in training")

VERDICTS = (
    "A claim holds, or fails, where p is below 0.05 after Holm's correction for the number of "
    f"claims here, from {SEED_FREEDOM + 1} seeds on, or from 2 seeds on each of several splits. "
    "Two rows are even where, with the same correction, a difference of "
    f"{100 * EVEN:g} points is ruled out; otherwise a claim is undecided."
)
"""What a verdict needs."""

_MEASURED = (
    "top-1 (video)",
    "n",
    "clip top-1",
    "top-5",
    "parameters",
    "GFLOPs",
    "ms per clip (median)",
    "× RGB",
)


def markdown(
    table: Table,
    context: Context,
    collected: Sequence[Collected],
    paper: PaperTable | None,
    claims: Sequence[Claim],
    beside: Sequence[Beside],
    costs: Mapping[str, Cost],
    on_gpus: Sequence[str],
) -> str:
    """The whole page. What stands before its first `##` can be shown alone.

    `costs`: by row, where the page shows them. `on_gpus`: pages of its rows' times there.
    """
    main = [entry for entry in collected if not entry.row.control]
    place = where_in_full(context.data, context.profile, context.backbone, context.changes)
    shown = PLOTS[table.plot].format(x=table.x_title or "x")
    parts = [
        *_best(table, main, paper),
        _main_table(table, main, paper, costs),
        *_absences(collected),
        _legend(table, main, paper, beside, on_gpus),
        *_controls(context, [entry for entry in collected if entry.row.control]),
        *_orderings(table, claims, collected),
        *how_measured(measured(table, context, collected)),
        *_advice(table, collected, claims),
    ]
    return page_text(f"{table.title}: {place}", shown, table.name, parts)


def _main_table(
    table: Table, main: Sequence[Collected], paper: PaperTable | None, costs: Mapping[str, Cost]
) -> str:
    columns = paper_columns(table, paper)
    best = next((entry.row for entry in ranked(main)), None)
    lines = []
    for entry in main:
        name = f"**{entry.row.name}**" if entry.row is best else entry.row.name
        cost = _cost_cells(costs[entry.row.name]) if costs else []
        figures = [paper_cell(entry.row, paper, c) for c in columns] if paper else []
        known = [str(figure or NOT_KNOWN) for figure in figures]
        lines.append([name, *_measured_cells(entry), *cost, *known])
    titles = [c if c == PAPER_COLUMN else f"paper: {column_title(c)}" for c in columns]
    header = ["row", *_MEASURED, *(_COSTS if costs else ()), *titles]
    return grid(header, lines, groups=[entry.row.group for entry in main])


def _measured_cells(entry: Collected) -> list[str]:
    summary = summarise(entry)
    if summary is None:
        # Times that were taken in turns need no training.
        times = [NOT_KNOWN] * 2 if entry.time is None else _time_cells(entry.row, entry.time)
        unknown = [NOT_KNOWN] * (len(_MEASURED) - 2 - len(times))
        return [entry.state, _count(entry), *unknown, *times]
    return [
        with_interval(summary.top1),
        _count(entry),
        NOT_KNOWN if summary.clip_top1 is None else percent(summary.clip_top1),
        with_interval(summary.top5),
        f"{significant(summary.parameters / 1e6)} M",
        significant(summary.flops / 1e9),
        *_time_cells(entry.row, summary.time),
    ]


def _time_cells(row: Row, time: RowTime) -> list[str]:
    fields = " + ".join(dict.fromkeys(FIELDS[s] for s in streams_of(row.spec.model) if s != "rgb"))
    made = f" ({fields} {significant(time.tvl1_ms)})" if time.tvl1_ms else ""
    return [significant(time.median_ms) + made, f"{time.ratio:.2f}"]


def _cost_cells(cost: Cost) -> list[str]:
    return [
        NOT_KNOWN if cost.train_seconds is None else duration(cost.train_seconds),
        NOT_KNOWN if cost.step_ratio is None else f"{cost.step_ratio:.2f}",
        NOT_KNOWN if cost.kept_bytes is None else significant(cost.kept_bytes / 1e6),
    ]


def _count(entry: Collected) -> str:
    """The number of runs, and of how many where some are not there."""
    n = len(entry.results)
    return str(n) if n == entry.asked else f"{n} of {entry.asked}"


def _absences(collected: Sequence[Collected]) -> list[str]:
    """What runs are not there: a mean over fewer seeds must not pass for a whole one."""
    lines = [
        f"FAILED: {entry.row.name}, seed {failure.seed}: {failure.reason}"
        for entry in collected
        for failure in entry.failures
    ]
    for missing in dict.fromkeys(entry.missing for entry in collected if entry.missing):
        rows = "; ".join(entry.row.name for entry in collected if entry.missing == missing)
        word = "seed" if len(missing) == 1 else "seeds"
        lines.append(f"missing: {word} {', '.join(map(str, missing))} of {rows}")
    return [bullets(lines)] if lines else []


def _legend(
    table: Table,
    main: Sequence[Collected],
    paper: PaperTable | None,
    beside: Sequence[Beside],
    on_gpus: Sequence[str],
) -> str:
    page = page_of(table.name)
    sentences = [
        "Accuracies are per cent of the test videos, with 95 % intervals over "
        + (
            "n seeds and test videos"
            if _kept(main)
            else "n seeds alone: what each test video was given was not kept"
        )
        + " (one seed has none).",
        "GFLOPs count a multiply-add as 2, per clip.",
        (
            "Times per clip were taken of all rows in turns, × RGB is over the plain 2D network's: "
            f"[{page}]({page}.md)."
            if any(entry.time for entry in main)
            else "× RGB is the time per clip over that of the plain RGB network of the row's own "
            "backbone, timed in turns with it."
        ),
    ]
    if on_gpus:
        sentences.append(f"On a GPU: {', '.join(f'[{name}]({name}.md)' for name in on_gpus)}.")
    if table.to_choose:
        sentences.append(
            "Training is the time of a run, whatever ran beside it, so compare training steps, "
            "which were timed in turns; of a late fusion both are of its members together. MB are "
            "what a step keeps of a clip for the backward pass."
        )
    if paper is not None:
        columns = paper_columns(table, paper)
        cells = [paper_cell(entry.row, paper, column) for entry in main for column in columns]
        sentences.append(
            f"The paper's figures are of other data and another machine; {NOT_KNOWN}: none known."
        )
        if any(cell is not None and cell.unverified for cell in cells):
            sentences.append(
                f"{UNVERIFIED_MARK} unverified: written down from memory, not checked against "
                "the paper's table."
            )
    sentences.append(f"All figures: [{table.name}.csv]({table.name}.csv).")
    links = [f"[{BESIDE[page.kind]}]({table.name}_{page.kind}.md)" for page in beside]
    sentences += [f"More of the same runs: {', '.join(links)}."] if links else []
    return " ".join(sentences)


def _kept(entries: Sequence[Collected]) -> bool:
    """Whether every result has what each of its test videos was given."""
    return all(entry.predictions for entry in entries if entry.results)


def _best(table: Table, main: Sequence[Collected], paper: PaperTable | None) -> list[str]:
    """Which row is best, whatever the paper says; which position, where the rows try several."""
    positions = [entry for entry in main if _position(entry.row) is not None]
    several = len({_position(entry.row) for entry in positions}) > 1 and not table.to_choose
    sentences = []
    if several:
        sentences.append(_best_of("position", table, positions, paper))
    if not several or ranked(main)[:1] != ranked(positions)[:1]:
        sentences.append(_best_of("row", table, main, paper))
    return sentences


def _position(row: Row) -> int | None:
    """The block that the row's flow layer stands after; None where it has none."""
    model = row.spec.model
    return model.flow.after_block if isinstance(model, ModelSpec) and model.flow else None


def _best_of(
    kind: str, table: Table, entries: Sequence[Collected], paper: PaperTable | None
) -> str:
    order = ranked(entries)
    best = summarise(order[0]) if order else None
    if best is None:
        text = f"Best measured {kind}: none, nothing is measured yet."
        return text + _paper_best(table, entries, paper)
    text = f"Best measured {kind}: **{order[0].row.name}**, {with_interval(best.top1)} %"
    difference = top1_difference(order[0], order[1]) if len(order) > 1 else None
    if difference is not None:
        ahead = verdict(difference, difference.p) == "holds"
        decided = "" if ahead else "; which is ahead is undecided"
        text += (
            f"; {points(difference)} points on the next, {order[1].row.name}, "
            f"n = {difference.n}{decided}"
        )
    text += "."
    if len(order) < len(entries):
        text += f" {len(entries) - len(order)} of {len(entries)} {kind}s have no result."
    return text + _paper_best(table, entries, paper)


def _paper_best(table: Table, entries: Sequence[Collected], paper: PaperTable | None) -> str:
    """The paper's best among the same rows, column by column."""
    bests = []
    for column, figures in figured_columns(table, entries, paper):
        entry, cell, _ = max(figures, key=lambda figure: figure[2])
        where = "" if column == PAPER_COLUMN else f" on {column_title(column)}"
        bests.append(f"{entry.row.name} ({cell}{where})")
    return f" In the paper: {', '.join(bests)}." if bests else ""


def _controls(context: Context, controls: Sequence[Collected]) -> list[str]:
    if not controls and context.metadata is None:
        return []
    chance = percent(context.chance)
    lines = []
    for entry in controls:
        summary = summarise(entry)
        top1 = with_interval(summary.top1) if summary else entry.state
        lines.append([entry.row.name, top1, _count(entry), chance])
    if context.metadata is not None:
        baseline = context.metadata
        accuracy = f"{percent(baseline.accuracy)} ± {percent(baseline.half_width)}"
        name = "Metadata only (the files' facts, no pixels; ± over the forest's seeds alone)"
        lines.append([name, accuracy, NOT_KNOWN, chance])
    return ["## Controls", grid(["control", "top-1 (video)", "n", "chance"], lines)]


def _orderings(table: Table, claims: Sequence[Claim], collected: Sequence[Collected]) -> list[str]:
    if not claims:
        return []
    heading, claim = "## Differences", "claim"
    if table.paper_csv is not None:
        heading, claim = "## The paper's orderings", "the paper says"
    titles = [claim, "here", "difference in points", "p", "seeds", "videos"]
    lines = [[each.claim, each.verdict, *effect_cells(each)] for each in claims]
    taken = (
        "video by video and seed by seed, with 95 % intervals over both"
        if _kept(collected)
        else "seed by seed, with 95 % intervals over seeds alone"
    )
    return [heading, grid(titles, lines, left=2), f"Differences are taken {taken}. {VERDICTS}"]


def _advice(table: Table, collected: Sequence[Collected], claims: Sequence[Claim]) -> list[str]:
    """Each ordering as a sentence for who chooses."""
    if not table.to_choose or not claims:
        return []
    rows = {entry.row.name: summarise(entry) for entry in collected}
    lines = []
    for ordering, claim in zip(table.orderings, claims, strict=True):
        better, worse = rows[ordering.better], rows[ordering.worse]
        pair = f"{ordering.better} and {ordering.worse}"
        if better is None or worse is None or claim.effect is None:
            lines.append(f"{pair}: nothing is known of both yet.")
            continue
        chance = "by one seed" if claim.p is None else f"p {p_value(claim.p)}"
        told = {
            "holds": f"{ordering.better} beats {ordering.worse}",
            "fails": f"{ordering.better} falls behind {ordering.worse}",
            "even": f"{pair} are even",
            "undecided": f"{pair} are not told apart, {chance}",
        }[claim.verdict]
        ratio = significant(better.time.ratio / worse.time.ratio, 2)
        lines.append(f"{told}: {points(claim.effect)} points, at {ratio} times its time per clip.")
    return ["## What this says to who chooses", bullets(lines)]
