"""A user's mistake is a ValueError, and stays the one sentence that it is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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


PRINTING = "import sys; from repflow_pl.program import status_of; "
COMMANDS = {
    "a result": "sys.exit(status_of(lambda: print('a result')))",
    "help": "sys.exit(status_of(lambda: (print('help'), sys.exit())))",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("to", "status", "said"), [("a full disk", 2, "No space"), ("-", 1, "")])
def test_what_cannot_be_printed_ends_a_command_by_its_status(
    command: str, to: str, status: int, said: str
) -> None:
    """Also the last words, which Python keeps until it ends."""
    if to == "a full disk":
        if not Path("/dev/full").exists():
            pytest.skip("/dev/full is needed to stand for a full disk")
        stdout = os.open("/dev/full", os.O_WRONLY)
    else:  # a reader that has ended
        reader, stdout = os.pipe()
        os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(
        [sys.executable, "-c", PRINTING + COMMANDS[command]],
        env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(stdout)
    assert done.returncode == status, done.stderr
    assert said in done.stderr and "Exception" not in done.stderr
