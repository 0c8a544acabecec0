"""A table's claims with what the runs say of them, kept beside it as `<table>_claims.csv`.

The page of claims (claims_page.py) is made of these files alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from repflow_pl.files import atomic_write
from repflow_pl.report.collect import Collected
from repflow_pl.report.paper import NOT_KNOWN, PaperTable, column_title, in_papers_order
from repflow_pl.report.rows import Table
from repflow_pl.report.stats import Verdict
from repflow_pl.report.summary import check_orderings, figured_columns, paper_cell

SUFFIX = "_claims.csv"
DECIDES_NOTHING = ("ut_interaction",)
"""Sets so small that no row clears the baseline that sees no pixels: examples of an importer."""


@dataclass(frozen=True)
class Claim:
    """An ordering of the paper's, and its verdict on one data set. Differences are fractions."""

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
    needed: str
    """What would decide it, where it is undecided."""


def claims_of(
    table: Table, collected: Sequence[Collected], paper: PaperTable | None
) -> list[Claim]:
    """One for each ordering; none where the paper has no such table."""
    if paper is None:
        return []
    rows = {entry.row.name: entry for entry in collected}
    claims = []
    for ordering, checked in zip(table.orderings, check_orderings(table, collected), strict=True):
        found = checked.difference
        better, worse = rows[ordering.better], rows[ordering.worse]
        claims.append(
            Claim(
                table.name,
                table.title,
                checked.claim,
                table.source,
                _printed(table, paper, better, worse),
                checked.verdict,
                found.mean if found else None,
                found.low if found else None,
                found.high if found else None,
                checked.p,
                found.n if found else 0,
                checked.videos,
                checked.needed,
            )
        )
    return claims


def write_claims(stem: Path, claims: Sequence[Claim]) -> None:
    """Write `<stem>_claims.csv`, whole or not at all."""
    text = pd.DataFrame(map(asdict, claims)).to_csv(
        index=False, lineterminator="\n", float_format="%.6g"
    )
    with atomic_write(stem.with_name(stem.name + SUFFIX)) as stream:
        stream.write(text)


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
    """A file's claims."""
    frame = pd.read_csv(path, keep_default_na=False, na_values={c: [""] for c in _NUMBERS})
    lines = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [Claim(**{str(name): value for name, value in line.items()}) for line in lines]


_NUMBERS = ("mean", "low", "high", "p")


def _printed(table: Table, paper: PaperTable, better: Collected, worse: Collected) -> str:
    """`59.4† against 55.2† (Tiny-Kinetics)`, of the first column that has both."""
    for column in figured_columns(table, [better, worse], paper):
        cells = [paper_cell(entry.row, paper, column) for entry in (better, worse)]
        if all(cell is not None and cell.value is not None for cell in cells):
            where = "" if column == "paper" else f" ({column_title(column)})"
            return f"{cells[0]} against {cells[1]}{where}"
    return NOT_KNOWN
