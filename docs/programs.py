"""Every option of every program, from the parsers that read them, as a page."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import sys
from argparse import Action, _SubParsersAction
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from jsonargparse import ArgumentParser

CHECKOUT = Path(__file__).resolve().parents[1]
NO_OPTIONS = ("repflow_pl.launching.worker", "repflow_pl.scripts")
"""One that other programs start, and one that starts scripts with the options of theirs."""
NAMED = {"repflow_pl": "repflow"}
"""Modules that are installed as a command."""


@dataclass(frozen=True)
class Program:
    """What one types before the options."""

    name: str
    """A module, or a file below the checkout."""

    def __str__(self) -> str:
        typed = self.name if self.name.endswith(".py") else f"-m {self.name}"
        return NAMED.get(self.name, f"python {typed}")


def programs() -> list[Program]:
    """All that run as a program: scripts of experiments/, and the package's modules."""
    found = [*(CHECKOUT / "experiments").glob("*.py"), *(CHECKOUT / "repflow_pl").rglob("*.py")]
    listed = []
    for path in sorted(found):
        if '\nif __name__ == "__main__":' not in path.read_text(encoding="utf-8"):
            continue
        place = path.relative_to(CHECKOUT)
        if place.parts[0] == "repflow_pl":
            module = ".".join(place.with_suffix("").parts).removesuffix(".__main__")
            if module not in NO_OPTIONS:
                listed.append(Program(module))
        else:
            listed.append(Program(place.as_posix()))
    return listed


def parser_of(program: Program) -> ArgumentParser:
    """The parser that a program shows for --help."""
    shown: list[ArgumentParser] = []

    def keep(parser: ArgumentParser, *_: Any, **__: Any) -> None:
        shown.append(parser)

    arguments = [program.name, "--help"]
    with (
        mock.patch.object(ArgumentParser, "print_help", keep),
        mock.patch.object(sys, "argv", arguments),
        mock.patch.object(sys, "path", [str(CHECKOUT / "experiments"), *sys.path]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        if program.name.endswith(".py"):
            runpy.run_path(str(CHECKOUT / program.name), run_name="__main__")
        else:
            runpy.run_module(program.name, run_name="__main__", alter_sys=True)
    (parser,) = shown
    return parser


def options_page() -> str:
    """A section for each program; programs with the same options share one."""
    sections: dict[str, list[str]] = {}
    for program in programs():
        for name, parser in _commands(str(program), parser_of(program)):
            sections.setdefault(section(parser), []).append(name)
    return "\n\n".join(
        f"## {_title(names)}\n\n" + "".join(f"- `{name}`\n" for name in names) + f"\n{text}"
        for text, names in sections.items()
    )


def section(parser: ArgumentParser) -> str:
    """What a program does, then a table for each group of its options."""
    parts = [_one_line(parser.description or "")]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if _is_shown(action)]
        if actions:
            title = _one_line(group.title or "").rstrip(":")
            plain = title in ("positional arguments", "options", "optional arguments")
            heading = "" if plain or not title else f"**{title}**\n\n"
            lines = [f"| {_spelt(action)} | {_told(parser, action)} |" for action in actions]
            parts.append(heading + "\n".join(["| option | |", "| :-- | :-- |", *lines]))
    return "\n\n".join(filter(None, parts))


def _commands(name: str, parser: ArgumentParser) -> Iterator[tuple[str, ArgumentParser]]:
    """A program's parser, if it has options or no commands, and those of its commands."""
    below = [each for each in parser._actions if isinstance(each, _SubParsersAction)]
    if not below or any(_is_shown(action) for action in parser._actions):
        yield name, parser
    for action in below:
        for command, inner in action._name_parser_map.items():
            yield from _commands(f"{name} {command}", inner)


def _title(names: Sequence[str]) -> str:
    """`table_placement.py and 8 others`."""
    first, *others = (re.sub(r"^python (experiments/|-m )", "", name) for name in names)
    return f"`{first}`" + (f" and {len(others)} more" if others else "")


def _is_shown(action: Action) -> bool:
    """Whether it is an option of its program's."""
    hidden = action.dest == "help" or action.help == "==SUPPRESS=="
    return not hidden and not isinstance(action, _SubParsersAction)


def _spelt(action: Action) -> str:
    if not action.option_strings:
        return f"`{str(action.metavar or action.dest).upper()}`"
    takes = action.metavar if isinstance(action.metavar, str) else None
    value = "" if action.nargs == 0 else f" {takes or action.dest.rpartition('.')[2].upper()}"
    return f"`{', '.join(action.option_strings)}{value}`"


def _told(parser: ArgumentParser, action: Action) -> str:
    """An option's help as --help gives it, with its default."""
    formatter = parser._get_formatter()
    return _one_line(formatter._expand_help(action) if action.help else "")


def _one_line(text: str) -> str:
    """In one cell of a table: `<` and `|` are no markup there."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")
