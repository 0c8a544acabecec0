"""A rendered table: its exact text, its marks, and the cells that are not there."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from repflow_pl.errors import UserError
from repflow_pl.report.paper import PAPER_FOLDER, paper_figures
from repflow_pl.report.stats import Answers, accuracy, difference
from repflow_pl.report.table import Context, Ordering, Rendered, Row, Table, render
from repflow_pl.report.wording import points, with_interval
from repflow_pl.specs import DataSpec, ModelSpec, RecipeSpec, RunSpec, spec_hash
from repflow_pl.training.recording.predictions import PREDICTIONS, Predictions, write_predictions

EXPECTED = Path(__file__).parent / "expected.md"
PageOf = Callable[..., str]
SPEC = RunSpec(ModelSpec("narrow"), DataSpec("motion_shapes"), RecipeSpec(epochs=1, batch=1, lr=1))


@pytest.fixture
def rendered(
    table: Table, context: Context, runs: Path, paper_folder: Path, tmp_path: Path
) -> Rendered:
    return render(table, context, runs, [0, 1, 2], tmp_path / "tables", paper_folder)


def cells(page: str, row: str) -> list[str]:
    """The cells of the first line of a page's tables that is named so."""
    for line in page.splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if parts[0].strip("*") == row:
            return parts
    raise AssertionError(f"no row {row}")


def test_exact_text(rendered: Rendered) -> None:
    # A wanted change: look at the difference, then copy the new text over expected.md.
    assert rendered.markdown.read_text(encoding="utf-8") == EXPECTED.read_text(encoding="utf-8")


def test_places(rendered: Rendered, tmp_path: Path) -> None:
    folder = tmp_path / "tables" / "motion_shapes"
    assert rendered == Rendered(
        folder / "placement.md", folder / "placement.csv", folder / "placement.png"
    )
    assert sorted(folder.iterdir()) == sorted(
        [rendered.markdown, rendered.csv, rendered.png, folder / "placement_claims.csv"]
    )


def test_same_results_same_files(
    rendered: Rendered, table: Table, context: Context, runs: Path, paper_folder: Path
) -> None:
    files = (rendered.markdown, rendered.csv, rendered.png)
    before = [path.read_bytes() for path in files]
    render(table, context, runs, [0, 1, 2], rendered.csv.parents[1], paper_folder)
    assert [path.read_bytes() for path in files] == before


def test_only_seeds_that_were_asked_for_can_be_missing(
    table: Table, context: Context, runs: Path, paper_folder: Path, tmp_path: Path
) -> None:
    """A row's further ones, as of runs that it shares with other tables, count for it alone; one
    that has not all of its splits does not."""

    def shown() -> tuple[list[str], str]:
        page = render(table, context, runs, [0], tmp_path, paper_folder, replace=True).markdown
        text = page.read_text(encoding="utf-8")
        return [cells(text, row.name)[2] for row in table.rows], text

    counts, text = shown()
    assert counts == ["3", "2", "3", "0 of 1", "0 of 1", "1"]
    assert "missing: seed 0 of Not in the paper" in text and "missing: seeds" not in text
    first, *rest = table.rows
    split = dataclasses.replace(first.spec, recipe=RecipeSpec(epochs=9, batch=8, lr=0.01))
    table = dataclasses.replace(
        table, rows=(dataclasses.replace(first, other_splits=(split,)), *rest)
    )
    assert shown()[0][0] == "0 of 1"
    ours, theirs = (runs / spec_hash(each) / "seed0" for each in (split, first.spec))
    ours.mkdir(parents=True)
    result = json.loads((theirs / "result.json").read_text())
    (ours / "result.json").write_text(json.dumps(result | {"spec": spec_hash(split)}))
    assert shown()[0][0] == "1", "seeds 1 and 2 lack a split"


def test_no_run_at_all_prints_every_row(table: Table, page_of: PageOf, tmp_path: Path) -> None:
    page = page_of(table, runs=tmp_path / "none")
    for row in table.rows:
        assert cells(page, row.name)[1] == "missing"
    told = [line for line in page.splitlines() if line.startswith("- missing: ")]
    rows = "; ".join(row.name for row in table.rows)
    assert told == [f"- missing: seeds 0, 1, 2 of {rows}"], "one line for all of the same seeds"
    assert "nothing is measured yet" in page


def test_one_seed_has_no_interval_and_decides_nothing(table: Table, page_of: PageOf) -> None:
    page = page_of(table, [1])
    assert cells(page, "RGB CNN")[1:3] == ["27.5", "1"]
    for ordering in table.orderings:
        assert cells(page, ordering.claim)[1] == "undecided"
    assert cells(page, "After block 3 beats RGB")[2:] == ["+37.5", "–", "1", "80"]


@pytest.mark.parametrize("stem", ["placement", "learned", "structure", "motion", "volumetric"])
def test_no_unverified_figure_goes_unmarked(stem: str, page_of: PageOf, tmp_path: Path) -> None:
    paper = paper_figures(stem)
    rows = tuple(Row(f"row {i}", SPEC, paper=name) for i, name in enumerate(paper.rows))
    table = Table(stem, "Title", rows, paper_csv=stem)
    # Without runs, every such number on the page is the paper's.
    page = page_of(table, runs=tmp_path / "none", paper_folder=PAPER_FOLDER)
    marked = 0
    for row, figures in zip(rows, paper.rows.values(), strict=True):
        shown = cells(page, row.name)[-len(paper.columns) :]
        assert shown == [str(figure) for figure in figures]
        for text, figure in zip(shown, figures, strict=True):
            if figure.unverified:
                assert text == f"{figure.text}†"
                number = rf"(?<![\d.]){re.escape(figure.text)}(?!\d)(.)"
                assert set(re.findall(number, page)) == {"†"}
                marked += 1
    assert ("† unverified" in page) == (marked > 0)


def test_verified_figures_have_no_mark(page_of: PageOf) -> None:
    rows = (Row("ours", SPEC, paper="Ours ((2+1)D CNN + FcF)"),)
    table = Table("sota", "Title", rows, paper_csv="sota")
    page = page_of(table, paper_folder=PAPER_FOLDER)
    assert "†" not in page
    assert "77.1" in page


def test_a_matrix_of_the_paper_becomes_one_column(page_of: PageOf) -> None:
    rows = tuple(
        Row(f"{n}, {column}", SPEC, paper=str(n), paper_column=column)
        for n, column in [(10, "learned"), (50, "not_learned")]
    )
    table = Table("iterations", "Title", rows, paper_csv="iterations")
    page = page_of(table, paper_folder=PAPER_FOLDER)
    figures = paper_figures("iterations")
    assert cells(page, "row")[-1] == "paper"
    assert cells(page, "10, learned")[-1] == str(figures.figure("10", "learned"))
    assert cells(page, "50, not_learned")[-1] == str(figures.figure("50", "not_learned"))


def test_the_best_is_named_whatever_the_paper_says(
    table: Table, page_of: PageOf, paper_folder: Path
) -> None:
    (paper_folder / "placement.csv").write_text(
        "row,tiny_kinetics,status\nRGB CNN,90,verified\nTwo-stream CNN,99,verified\n"
        "After block 3,70,verified\nAfter block 4,80,unverified\n"
    )
    page = page_of(table)
    assert "Best measured position: **After block 3**, 62.5 (56.3–68.7) %." in page
    assert "In the paper: After block 4 (80† on Tiny-Kinetics)." in page


def test_the_best_row_is_named_too_where_it_is_no_position(
    table: Table, page_of: PageOf, runs: Path
) -> None:
    for path in runs.glob("*/seed*/result.json"):
        path.write_text(path.read_text().replace('"top1": 0.3,', '"top1": 0.9,'))
    page = page_of(table, [0])
    assert "Best measured position: **After block 3**, 62.5 %." in page
    assert "Best measured row: **RGB CNN**, 90.0 %; +27.5 points on the next, After block 3" in page


@pytest.mark.long
def test_the_best_is_ahead_where_a_claim_of_it_would_hold(
    table: Table, rows: dict[str, Row], page_of: PageOf
) -> None:
    """Two seeds are too few for that, also where their interval leaves out 0."""
    two = dataclasses.replace(table, rows=(rows["rgb"], rows["block3"]), orderings=())
    undecided = "; which is ahead is undecided."
    said = "+35.0 (+3.2 to +66.8) points on the next, RGB CNN, n = 2"
    assert said + undecided in page_of(two, [0, 1])
    assert undecided not in page_of(two, [0, 1, 2])


def test_intervals_and_differences_are_over_seeds_and_videos_where_answers_were_kept(
    table: Table, page_of: PageOf, runs: Path
) -> None:
    rng = np.random.default_rng(0)
    answers: dict[str, list[npt.NDArray[np.int64]]] = {}
    for path in sorted(runs.glob("*/seed*/result.json")):
        rank = (rng.random(80) > json.loads(path.read_text())["top1"]).astype(np.int64)
        answers.setdefault(path.parents[1].name, []).append(rank)
        group = np.arange(80) // 4
        scores = np.full((80, 4), 0.25)
        write_predictions(path.parent / PREDICTIONS, Predictions(group % 4, group, rank, scores))
    page = page_of(table)
    assert "with 95 % intervals over n seeds and test videos" in page
    assert "taken video by video and seed by seed, with 95 % intervals over both" in page
    better, worse = (
        [Answers((np.stack(answers[spec_hash(row.spec)]) == 0).astype(float), np.arange(80) // 4)]
        for row in (table.rows[2], table.rows[0])
    )
    shown = difference(better, worse)
    assert cells(page, "After block 3 beats RGB")[2] == points(shown)
    assert cells(page, "After block 3")[1] == with_interval(accuracy(better))
    (next(runs.glob("*/seed0")) / PREDICTIONS).unlink()
    page = page_of(table)
    assert "over n seeds alone" in page and "taken seed by seed, with" in page
    assert "video by video" not in page


def test_csv_has_every_row_and_figure(rendered: Rendered, table: Table) -> None:
    text = rendered.csv.read_text(encoding="utf-8")
    frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).set_index("row")
    assert list(frame.index) == [row.name for row in table.rows]
    block3 = frame.loc["After block 3"]
    assert block3["top1_by_seed"] == "62.5;65.0;60.0"
    assert block3["seeds"] == "0;1;2"
    assert (block3["parameters"], block3["flops"]) == ("321005", "410000000")
    assert (block3["paper_tiny_kinetics"], block3["paper_status"]) == ("61.25", "unverified")
    assert frame.loc["After block 4", "state"] == "FAILED"
    assert frame.loc["Not in the paper", "state"] == "missing"
    assert frame.loc["Not in the paper", "paper_status"] == ""
    assert frame["spec"].nunique() == len(table.rows)


def test_picture_is_twice_a_readmes_width(rendered: Rendered) -> None:
    data = rendered.png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1800
    assert 600 < height < 1400
    assert len(data) < 300_000


@pytest.mark.long
def test_a_mistake_leaves_the_old_files(
    rendered: Rendered, table: Table, context: Context, runs: Path, paper_folder: Path
) -> None:
    before = rendered.csv.read_bytes()
    next(runs.glob("*/seed0/result.json")).write_text("{")
    with pytest.raises(UserError):
        render(table, context, runs, [0], rendered.csv.parents[1], paper_folder)
    assert rendered.csv.read_bytes() == before


def test_a_description_is_checked(table: Table) -> None:
    with pytest.raises(UserError, match="two rows named 'RGB CNN'"):
        dataclasses.replace(table, rows=(table.rows[0], *table.rows))
    with pytest.raises(UserError, match="did you mean After block"):
        dataclasses.replace(table, orderings=(Ordering("", "After blok 3", "RGB CNN"),))
    with pytest.raises(UserError, match="no CSV"):
        dataclasses.replace(table, paper_csv=None)


def test_differences_that_the_paper_does_not_claim_are_not_said_to_be_its(
    table: Table, page_of: PageOf
) -> None:
    rows = tuple(dataclasses.replace(row, paper=None) for row in table.rows)
    own = dataclasses.replace(table, rows=rows, paper_csv=None)
    page = page_of(own)
    assert "## Differences" in page and table.orderings[0].claim in page
    assert "paper says" not in page and "paper's orderings" not in page


def test_a_bar_in_a_name_stays_in_its_cell(page_of: PageOf) -> None:
    assert "a\\|b" in page_of(Table("odd", "Title", (Row("a|b", SPEC),)))
