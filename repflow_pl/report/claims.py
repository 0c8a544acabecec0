"""A table's claims with what the runs say of them, kept beside it as `<table>_claims.csv`.

The page of claims (claims_page.py) is made of these files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from repflow_pl.errors import UserError
from repflow_pl.report.collect import Collected
from repflow_pl.report.page import csv_of, write
from repflow_pl.report.paper import NOT_KNOWN, PaperTable, column_title, in_papers_order
from repflow_pl.report.rows import Table
from repflow_pl.report.stats import Estimate, Verdict, holm, seeds_needed, verdict
from repflow_pl.report.summary import PAPER_COLUMN, figured_columns, top1_difference
from repflow_pl.strict import parse

SUFFIX = "_claims.csv"
DECIDES_NOTHING = ("ut_interaction",)
"""Sets so small that no row clears the baseline that sees no pixels: examples of an importer."""


@dataclass(frozen=True)
class Claim:
    """An ordering, the paper's where the table is of the paper, and its verdict on one data set.
    Differences are fractions."""

    table: str
    title: str
    """Of the table."""
    claim: str
    source: str
    """Where the paper says so."""
    paper: str
    """The paper's two figures, marked where they are unverified; a dash where none is known."""
    verdict: Verdict
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    """Corrected for the number of the table's claims."""
    seeds: int
    videos: int
    """Test videos of all splits together; 0 where there is no difference."""
    needed: str
    """What would decide it, where it is undecided."""

    @property
    def effect(self) -> Estimate | None:
        """The difference with its interval; None without any run."""
        if self.mean is None:
            return None
        return Estimate(self.mean, self.low, self.high, self.seeds)


def claims_of(
    table: Table, collected: Sequence[Collected], paper: PaperTable | None
) -> list[Claim]:
    """One for each ordering: the difference better - worse, and what it decides among all."""
    rows = {entry.row.name: entry for entry in collected}
    pairs = [(rows[ordering.better], rows[ordering.worse]) for ordering in table.orderings]
    differences = [top1_difference(*pair) for pair in pairs]
    corrected = holm([found.p if found else None for found in differences])
    even = holm([found.p_even if found else None for found in differences])
    claims = []
    for ordering, pair, found, p, p_even in zip(
        table.orderings, pairs, differences, corrected, even, strict=True
    ):
        decided = verdict(found, p, p_even)
        claims.append(
            Claim(
                table=table.name,
                title=table.title,
                claim=ordering.claim,
                source=table.source,
                paper=_printed(table, paper, pair),
                verdict=decided,
                mean=found.mean if found else None,
                low=found.low if found else None,
                high=found.high if found else None,
                p=p,
                seeds=found.n if found else 0,
                videos=pair[0].videos_test if found else 0,
                needed=_needed(*pair, len(pairs)) if decided == "undecided" else "",
            )
        )
    return claims


def _needed(better: Collected, worse: Collected, comparisons: int) -> str:
    shared = better.top1.keys() & worse.top1.keys()
    if not shared:
        return "its runs"
    if len(shared) == 1:
        return "more seeds"
    if not (better.predictions and worse.predictions):
        return "runs that keep their answers"
    seeds = seeds_needed(better.answers(seeds=shared), worse.answers(seeds=shared), comparisons)
    return "more test videos" if seeds is None else f"about {seeds} seeds"


def write_claims(stem: Path, claims: Sequence[Claim]) -> None:
    """Write `<stem>_claims.csv`, whole or not at all."""
    frame = pd.DataFrame(map(asdict, claims))
    write(stem.with_name(stem.name + SUFFIX), csv_of(frame, float_format="%.6g"))


def find_claims(tables: Path) -> dict[str, list[Claim]]:
    """The claims of every data set that may decide any, by the folder of its tables."""
    found: dict[str, list[Claim]] = {}
    for path in sorted(tables.glob(f"*/*{SUFFIX}")):
        if path.parent.name not in DECIDES_NOTHING:
            found.setdefault(path.parent.name, []).extend(read_claims(path))
    order = in_papers_order({claim.table for claims in found.values() for claim in claims})
    for claims in found.values():
        claims.sort(key=lambda claim: order.index(claim.table))
    return found


def read_claims(path: Path) -> list[Claim]:
    """A file's claims. Errors: UserError where it is damaged, or has other columns than these."""
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values={c: [""] for c in _NUMBERS})
        lines = frame.astype(object).where(frame.notna(), None).to_dict("records")
        return [parse(Claim, line) for line in lines]
    except ValueError as error:
        raise UserError(
            f"{path} is not of this version ({error}): remove it and make its table again."
        ) from error


_NUMBERS = ("mean", "low", "high", "p")


def _printed(table: Table, paper: PaperTable | None, pair: Sequence[Collected]) -> str:
    """`59.4† against 55.2† (Tiny-Kinetics)`, of the first column that has both."""
    for column, figures in figured_columns(table, pair, paper):
        if len(figures) == len(pair):
            where = "" if column == PAPER_COLUMN else f" ({column_title(column)})"
            return " against ".join(str(cell) for _, cell, _ in figures) + where
    return NOT_KNOWN
