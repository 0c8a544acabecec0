"""The page of claims: what stands beside the tables, and nothing else, decides what it says."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from repflow_pl.errors import UserError
from repflow_pl.report.claims import SUFFIX, Claim, find_claims, read_claims, write_claims
from repflow_pl.report.claims_page import CLAIMS_MARKS, PAGE, PICTURE, claims_page, counted
from repflow_pl.report.join import join
from repflow_pl.report.plot_claims import claims_figure
from repflow_pl.report.stats import Answers, seeds_needed
from repflow_pl.report.table import Context, Table, render

CLAIM = Claim(
    "placement", "Where", "one beats two", "Section 4.2", "3† against 2 (HMDB51)", "holds",
    0.25, 0.125, 0.375, 0.0004, 3, 80, "",
)  # fmt: skip


@pytest.fixture
def tables(table: Table, context: Context, runs: Path, paper_folder: Path, tmp_path: Path) -> Path:
    source = dataclasses.replace(table, source="Section 4.2")
    render(source, context, runs, [0, 1, 2], tmp_path / "tables", paper_folder)
    return tmp_path / "tables"


def test_claims_are_those_of_the_tables_page(tables: Path, table: Table) -> None:
    (claims,) = find_claims(tables).values()
    page = (tables / "motion_shapes" / "placement.md").read_text(encoding="utf-8")
    assert [claim.claim for claim in claims] == [each.claim for each in table.orderings]
    for claim in claims:
        (line,) = re.findall(rf"^\| {claim.claim} \| (\w+) ", page, flags=re.MULTILINE)
        assert line == claim.verdict
    assert [claim.verdict for claim in claims] == ["holds", *["undecided"] * 3]
    assert claims[0].paper == "61.25† against 50.0 (Tiny-Kinetics)"
    assert [claim.needed for claim in claims[1:]] == [
        "runs that keep their answers",
        "runs that keep their answers",
        "its runs",
    ]
    assert (claims[-1].seeds, claims[-1].videos) == (0, 0)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    bare = dataclasses.replace(
        CLAIM,
        verdict="undecided",
        mean=None,
        low=None,
        high=None,
        p=None,
        seeds=0,
        needed="its runs",
    )
    write_claims(tmp_path / "placement", [CLAIM, bare])
    assert read_claims(tmp_path / f"placement{SUFFIX}") == [CLAIM, bare]


@pytest.mark.parametrize("text", ["", "table,title\na,b\n", "holds\n"])
def test_a_file_of_another_version_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"placement{SUFFIX}"
    path.write_text(text)
    if text == "holds\n":
        write_claims(tmp_path / "placement", [CLAIM])
        path.write_text(path.read_text().replace(",holds,", ",proven,"))
    with pytest.raises(UserError, match="is not of this version"):
        read_claims(path)


def test_the_page_has_every_claim_on_every_set_and_counts_them(tmp_path: Path) -> None:
    other = dataclasses.replace(CLAIM, verdict="fails", mean=-0.25, low=-0.375, high=-0.125)
    only = dataclasses.replace(CLAIM, claim="two beats three", verdict="undecided", p=0.3)
    claims = {"motion_shapes": [CLAIM, only], "ucf101": [other]}
    page = claims_page(claims)
    assert "of 2 claims **1 hold, 0 fail, 0 are even** and 1 are undecided." in page
    assert "On ucf101, of 1 claims **0 hold, 1 fail, 0 are even** and 0" in counted(claims)
    assert "| **holds** | +25.0 (+12.5 to +37.5) | < 0.001 | 3 | 80 |" in page
    assert "|  |  | ucf101 | **fails** | −25.0 (−37.5 to −12.5) | < 0.001 |" in page
    assert page.count("one beats two") == 1
    assert "[motion_shapes](motion_shapes/placement.md), [ucf101](ucf101/placement.md)" in page


@pytest.mark.parametrize("sets", [1, 2, 3, 4])
def test_no_word_of_the_picture_lies_over_another(sets: int) -> None:
    names = ("motion_shapes", "motion_shapes-epochs10", "ucf101", "hmdb51")
    long = [
        dataclasses.replace(CLAIM, claim=f"{row} with many words in its name beats another {row}")
        for row in ("a first row", "a second row")
    ]
    figure = claims_figure({name: [CLAIM, *long] for name in names[:sets]})
    claims = figure.axes[0].get_yticklabels()
    assert [t.get_text().replace("\n", " ") for t in claims] == [c.claim for c in (CLAIM, *long)]
    texts = [*figure.texts, *claims, *(t for axis in figure.axes for t in axis.texts)]
    texts += [axis.xaxis.label for axis in figure.axes]
    boxes = [t.get_window_extent() for t in texts if t.get_text()]
    for k, box in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:k]), texts[k]


def test_joining_writes_page_picture_and_the_readmes_block(tables: Path) -> None:
    readme = tables.parent / "README.md"
    readme.write_text("\n".join(CLAIMS_MARKS))
    written = join(tables, readme)
    assert tables / PAGE in written and readme in written
    assert (tables / PICTURE).read_bytes().startswith(b"\x89PNG")
    text = readme.read_text(encoding="utf-8")
    assert "of 4 claims **1 hold, 0 fail, 0 are even** and 3 are undecided" in text
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (tables.parent / target).is_file()
    before = (tables / PICTURE).read_bytes(), (tables / PAGE).read_bytes()
    join(tables, readme)
    assert before == ((tables / PICTURE).read_bytes(), (tables / PAGE).read_bytes())


def test_an_example_of_an_importer_decides_nothing(tmp_path: Path) -> None:
    for data in ("motion_shapes", "ut_interaction"):
        (tmp_path / data).mkdir()
        write_claims(tmp_path / data / "placement", [CLAIM])
    assert list(find_claims(tmp_path)) == ["motion_shapes"]


def test_the_seeds_needed_are_the_fewest_that_decide() -> None:
    """Against mean squares of seeds x videos, with every number of seeds in turn."""
    rng = np.random.default_rng(2)
    seeds, videos, claims = 3, 300, 6
    hard = rng.normal(0, 1.0, videos)
    a, b = (
        (mean + rng.normal(0, 0.15, (seeds, 1)) + rng.normal(0, 0.5, (seeds, videos)) > hard)
        for mean in (0.25, 0.0)
    )
    y = a.astype(float) - b
    rows, columns = y.mean(1), y.mean(0)
    rest = y - rows[:, None] - columns + y.mean()
    ms_rest = (rest**2).sum() / ((seeds - 1) * (videos - 1))
    by_seeds = rows.var(ddof=1)
    by_videos = max(0.0, columns.var(ddof=1) - ms_rest / seeds) / videos

    def decided(n: int) -> bool:
        t = [stats.t.ppf(1 - 0.05 / claims / 2, freedom) for freedom in (n - 1, videos - 1)]
        return bool((t[0] ** 2 * by_seeds / n + t[1] ** 2 * by_videos) ** 0.5 < abs(y.mean()))

    expected = next(n for n in range(seeds + 1, 100) if decided(n))
    one, other = ([Answers(part.astype(float), np.arange(videos))] for part in (a, b))
    assert seeds_needed(one, other, claims) == expected > 4
    # Three of eight videos the one way, two the other, whatever the seed: other videos are wanting.
    few = [
        [Answers(np.tile(np.array(right, float), (3, 1)), np.arange(8))]
        for right in ([1, 1, 1, 0, 0, 0, 1, 0], [0, 0, 0, 1, 1, 0, 1, 0])
    ]
    assert seeds_needed(*few, claims) is None
