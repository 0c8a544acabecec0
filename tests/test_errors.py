"""A user's mistake is a ValueError, and stays the one sentence that it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from jsonargparse import ArgumentParser

from repflow_pl.errors import UserError, unknown
from repflow_pl.options import read


@dataclass(frozen=True)
class Counted:
    """Options that check themselves."""

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError("--count is 1 or more.")


def test_a_mistake_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="did you mean theta"):
        raise unknown("parameter", "thetta", ["theta"])


def test_a_sentence_names_no_more_than_one_can_read() -> None:
    names = [f"class {k}" for k in range(400)]
    sentence = str(unknown("class", "clas 399", names))
    assert "did you mean class 399" in sentence and sentence.endswith(" and 370 more.")
    assert "more" not in str(unknown("class", "x", names[:30]))


def test_the_parser_adds_nothing_to_the_sentence() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Counted, "counted")
    with pytest.raises(UserError) as caught:
        parser.instantiate_classes(read(parser, ["--counted.count=0"]))
    assert str(caught.value) == "--count is 1 or more."
