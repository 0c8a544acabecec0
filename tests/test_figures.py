"""The figures in the sentences of README and docs are those of the published results."""

from __future__ import annotations

import re
from functools import cache

import pytest

from experiments.all_tables import builder
from repflow_pl.report.collect import collect
from repflow_pl.report.summary import top1_difference
from repflow_pl.report.wording import points
from repflow_pl.tables import Setting, kept_tables
from tests.programs import CHECKOUT

PUBLISHED = CHECKOUT / "tables"
NUMBER = r"[+−]?\d+\.\d"
FIGURE = re.compile(rf"({NUMBER})(?: %)?(?: \(|, )({NUMBER})(?: to |–)({NUMBER})")
"""75.6 (70.1–80.3), 75.6 (70.1 to 80.3) %, and in brackets of its own −5.9, −13.9 to +2.0."""
TODAY = [
    ("Temporal Shift", "RGB CNN"),
    ("(2+1)D CNN", "RGB CNN"),
    ("3D CNN", "RGB CNN"),
    ("Flow layer on RGB inputs", "Flow CNN"),
    ("Flow layer on RGB inputs", "Motion vectors"),
    ("Two-stream CNN", "Flow CNN"),
]
FUSION = [(f"Late, {place}", f"None, {place}") for place in ("RGB input", "block 1", "block 3")]
"""Rows of tables on UCF101 whose difference stands on no page, but in the docs."""

Figure = tuple[float, frozenset[float]]


def figures(text: str) -> dict[Figure, str]:
    """An estimate with the ends of its interval, whichever row is taken from which."""
    found = FIGURE.finditer(" ".join(text.split()))
    return {(size(e[1]), frozenset({size(e[2]), size(e[3])})): e[0] for e in found}


def size(number: str) -> float:
    return abs(float(number.replace("−", "-")))


@cache
def published() -> set[Figure]:
    pages = [page.read_text(encoding="utf-8") for page in PUBLISHED.rglob("*.md")]
    runs = PUBLISHED / "runs"
    for name, pairs in (("today", TODAY), ("fusion", FUSION)):
        setting = Setting("ucf101", split="all")
        _, (table,) = kept_tables([builder(name)], setting, runs)
        rows = {row.name: row for row in table.rows}
        for pair in pairs:
            one, other = (collect(runs, rows[each], range(2)) for each in pair)
            effect = top1_difference(one, other)
            assert effect is not None
            pages.append(points(effect))
    return {figure for page in pages for figure in figures(page)}


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/start.md", "docs/faq.md"])
def test_figures_in_sentences_are_published(page: str) -> None:
    found = figures((CHECKOUT / page).read_text(encoding="utf-8"))
    assert [text for figure, text in found.items() if figure not in published()] == []
