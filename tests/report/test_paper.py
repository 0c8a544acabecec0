"""The paper's figures: as transcribed, marked, and strict about what they do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from repflow_pl.errors import UserError
from repflow_pl.report.paper import PAPER_FOLDER, paper_figures

STEMS = sorted(path.stem for path in PAPER_FOLDER.glob("*.csv"))


def test_all_tables_of_the_paper_are_there() -> None:
    assert STEMS == [
        "fusion",
        "iterations",
        "learned",
        "motion",
        "placement",
        "sota",
        "structure",
        "volumetric",
    ]


@pytest.mark.parametrize("stem", STEMS)
def test_every_figure_shows_its_status(stem: str) -> None:
    table = paper_figures(stem)
    assert table.rows and table.columns
    assert not {"group", "status", "row"} & set(table.columns)
    for figures in table.rows.values():
        for figure in figures:
            assert ("†" in str(figure)) == (
                figure.status == "unverified" and figure.value is not None
            )
            assert figure.value is not None or str(figure) == "–"


def test_only_the_state_of_the_art_is_verified() -> None:
    for stem in STEMS:
        statuses = {f.status for figures in paper_figures(stem).rows.values() for f in figures}
        assert (statuses == {"verified"}) == (stem == "sota")


def test_a_row_named_none_is_a_name() -> None:
    assert next(iter(paper_figures("fusion").rows)) == "None"


def test_decimals_are_kept_as_printed() -> None:
    figure = paper_figures("sota").figure("TVNet (+RGB)", "hmdb")
    assert (str(figure), figure.value, figure.status) == ("71.0", 71.0, "verified")


def test_names_are_checked(paper_folder: Path) -> None:
    with pytest.raises(UserError, match="did you mean placement"):
        paper_figures("placment", paper_folder)
    table = paper_figures("placement", paper_folder)
    with pytest.raises(UserError, match="did you mean After block"):
        table.figure("After blok 3", "tiny_kinetics")
    with pytest.raises(UserError, match="did you mean tiny_kinetics"):
        table.figure("After block 3", "tinykinetics")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,x\na,1\n", "no column 'status'"),
        ("row,x,status\na,1,guessed\n", "unknown status .* 'guessed'"),
        ("row,x,status\na,high,verified\n", "row 'a'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        paper_figures("odd", tmp_path)
    assert "odd.csv" in str(caught.value)
