"""Rows are chosen by name, by any part that is theirs alone, or by number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repflow_pl.errors import UserError
from repflow_pl.profiles import demo_profile
from repflow_pl.report.choose import choose_rows
from repflow_pl.report.rows import Row, Table
from repflow_pl.specs import DataSpec

RGB = demo_profile("folder").rgb(DataSpec("folder"))
NAMES = ("RGB CNN", "tau, lambda, theta", "lambda, theta", "After block 3, on RGB", "20 iterations")
TABLES = (
    Table("one", "One", tuple(Row(name, RGB) for name in NAMES)),
    Table("two", "Two", (Row("RGB CNN", RGB), Row("Sobel kernels", RGB))),
)


def numbers(asked: str) -> list[int]:
    return [number for number, _, _ in choose_rows(TABLES, asked)]


@given(st.lists(st.sampled_from([*NAMES, "Sobel kernels"]), min_size=1, max_size=4, unique=True))
def test_names_with_commas_are_names(names: list[str]) -> None:
    found = [row.name for _, _, row in choose_rows(TABLES, ", ".join(names).upper())]
    assert list(dict.fromkeys(found)) == names


def test_parts_numbers_and_all() -> None:
    assert numbers("sobel,tau,block 3") == [7, 2, 4]
    assert numbers("5,3,5") == [5, 3]
    assert numbers("rgb cnn") == [1, 6], "a row of several tables is all of them"
    assert numbers("20") == [5], "no row has the number, one has it in its name"
    assert numbers("all") == list(range(1, 8))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("theta", "'theta' is in the names of 2 rows, tau, lambda, theta, lambda, theta: write"),
        ("Sobbel kernels", "unknown row 'Sobbel kernels': did you mean Sobel kernels"),
        ("99", "unknown row '99': --list shows"),
        ("RGB CNN,,", "unknown row '': --list shows"),
    ],
)
def test_what_is_no_row_or_several_is_one_sentence(asked: str, sentence: str) -> None:
    with pytest.raises(UserError) as told:
        choose_rows(TABLES, asked)
    assert str(told.value).startswith(sentence)
