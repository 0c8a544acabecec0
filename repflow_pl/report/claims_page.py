"""CLAIMS.md: every claim of the paper that the tables test, on each data set, and the count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from repflow_pl.report.claims import Claim
from repflow_pl.report.page import page_text
from repflow_pl.report.paper import NOT_KNOWN, UNVERIFIED_MARK
from repflow_pl.report.stats import EVEN, SEED_FREEDOM, Verdict
from repflow_pl.report.wording import grid, p_value, points

PAGE, PICTURE = "CLAIMS.md", "CLAIMS.png"
SHOWS = "Effects with 95 % intervals, coloured by verdict"
CLAIMS_MARKS = "<!-- claims:begin -->", "<!-- claims:end -->"
"""What of a README the picture and the count stand between."""

ClaimsBySet = Mapping[str, Sequence[Claim]]
"""By the folder of a data set's tables."""


def counted(claims: ClaimsBySet) -> str:
    """One sentence a data set: how many hold, fail, are even and are undecided."""
    sentences = []
    for data, found in claims.items():
        counts = {kind: sum(c.verdict == kind for c in found) for kind in get_args(Verdict)}
        sentences.append(
            f"On {data}, of {len(found)} claims **{counts['holds']} hold, {counts['fails']} fail, "
            f"{counts['even']} are even** and {counts['undecided']} are undecided."
        )
    return " ".join(sentences)


def claims_page(claims: ClaimsBySet, why: Sequence[str] = ()) -> str:
    """The page. Links are relative to the folder of the tables.

    `why`: the pages, as `ucf101/why`, that look into why places differ.
    """
    parts = [
        counted(claims),
        "An effect is the difference in points of top-1 on the test videos, taken video by video "
        "and seed by seed, with the 95 % interval over seeds and groups of alike videos. A claim "
        "holds where the better row is ahead and p is below 0.05, fails where it is behind and p "
        "is below 0.05; p is corrected by Holm's method for the number of claims of its table on "
        f"its data set. Two rows are even where a difference of {100 * EVEN:g} points is ruled "
        "out, at the same level and by the same correction. "
        f"A verdict needs {SEED_FREEDOM + 1} seeds, or 2 on each of several splits; "
        "what an undecided claim needs is an estimate from the spread so far. Where two tables ask "
        "for the same difference, it is a claim of each, and counted in each. "
        "p counts one look at the runs: where seeds are added because a claim is undecided, a "
        "false verdict is likelier, in simulation in one table of nine instead of at most one of "
        "twenty for looks at 3, 4, 5 and 6 seeds. "
        f"{UNVERIFIED_MARK} unverified: the paper's figure was written down from memory, and no "
        "verdict rests on it. Made from result files by `python -m repflow_pl.report`.",
    ]
    first = {c.table: c for found in claims.values() for c in found}
    for table, any_claim in first.items():
        parts.append(f"## {any_claim.title}")
        links = [
            f"[{data}]({data}/{table}.md)"
            for data, found in claims.items()
            if any(c.table == table for c in found)
        ]
        parts.append(f"The paper: {any_claim.source}. Rows: {', '.join(links)}.")
        parts.append(_grid(table, claims))
    if why:
        parts += [
            "## Why",
            "What lies behind the order of the places, one thing changed at a time, and what the "
            f"layers see there: {', '.join(f'[{page}]({page}.md)' for page in why)}.",
        ]
    return page_text("The paper's claims", SHOWS, PAGE.removesuffix(".md"), parts)


def claims_excerpt(claims: ClaimsBySet, tables: str) -> str:
    """The picture and the count, for a page that sees the folder of the tables as `tables`."""
    return (
        f"[![{SHOWS}]({tables}/{PICTURE})]"
        f"({tables}/{PAGE})\n\n{counted(claims)} Each claim with its effect, and what a verdict "
        f"needs: [{PAGE}]({tables}/{PAGE})."
    )


def _grid(table: str, claims: ClaimsBySet) -> str:
    names = dict.fromkeys(c.claim for found in claims.values() for c in found if c.table == table)
    lines = []
    for name in names:
        shown = name
        for data, found in claims.items():
            for claim in (c for c in found if (c.table, c.claim) == (table, name)):
                printed = claim.paper if shown else ""
                mark = "" if claim.verdict == "undecided" else "**"
                verdict = f"{mark}{claim.verdict}{mark}"
                lines.append([shown, printed, data, verdict, *effect_cells(claim), claim.needed])
                shown = ""
    header = ["the paper says", "its figures", "on", "verdict", "effect in points", "p", "seeds"]
    return grid([*header, "videos", "undecided for want of"], lines, left=4)


def effect_cells(claim: Claim) -> list[str]:
    """Its points, p, seeds and videos."""
    shown = NOT_KNOWN if claim.effect is None else points(claim.effect)
    return [shown, p_value(claim.p), str(claim.seeds), str(claim.videos)]
