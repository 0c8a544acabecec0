"""The command `repflow`, also python -m repflow_pl: see --help."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from repflow_pl.extras import is_complete, needs

with needs("video", program=True, signals=True):
    from jsonargparse import ArgumentParser
    from shtab import SUPPORTED_SHELLS

    from repflow_pl.audit.options import AuditOptions
    from repflow_pl.errors import UserError, unknown
    from repflow_pl.options import add_options, new_parser, read, take
    from repflow_pl.program import status_of
    from repflow_pl.showing.options import CurvesOptions, ExportOptions, LookOptions, PredictOptions

NAME = "repflow"


@dataclass(frozen=True)
class Command:
    """A part of the command: what it is given, a place and options, and what it does with them."""

    name: str
    options: type[Any]
    run: Callable[[Any, Any], int]
    """Takes the place and the options."""
    place: str
    said: Mapping[str, Any]
    """Of the place, for the parser; a default would go before what a file for --config says."""

    def parser(self) -> ArgumentParser:
        """Its parser, for `options.read`."""
        parser = new_parser(self.options.__doc__, prog=f"{NAME} {self.name}")
        parser.add_argument(self.place, **self.said)
        add_options(parser, self.options)
        return parser

    def call(self, arguments: Sequence[str]) -> int:
        """Do it; the exit status."""
        given = read(self.parser(), arguments).as_dict()
        return self.run(given.pop(self.place, None), take(self.options, given))


@dataclass(frozen=True)
class Program:
    """A part of the command that is also a program by itself, with parsers of its own."""

    name: str
    about: str
    module: str
    """Has its `main` and `add_to`; imported only when called."""
    needs: str = "train"
    """The extra that it needs."""

    def call(self, arguments: Sequence[str]) -> int:
        """Do it; the exit status."""
        status: int = import_module(self.module).main(arguments)
        return status

    def add_to(self, parser: ArgumentParser) -> None:
        """Give a parser all that it has to complete, where that is installed."""
        if is_complete(self.needs):
            import_module(self.module).add_to(parser)


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "table",
            "Run the script of a table or a benchmark, as placement.",
            "repflow_pl.scripts",
        ),
        Program(
            "data", "Import, verify and prepare data sets.", "repflow_pl.data.__main__", "video"
        ),
        Program(
            "report",
            "Join tables, bring results from W&B, write pages.",
            "repflow_pl.report.__main__",
        ),
    )
}


@dataclass(frozen=True)
class CompletionOptions:
    """Print a shell's completion of this command: repflow completion bash."""


def _later(function: str) -> Callable[[Any, Any], int]:
    """A function, by its module and name, that is imported only when it is called."""
    return lambda place, options: resolve_name(function)(place, options)


def _curves(places: Sequence[str], options: CurvesOptions) -> int:
    from repflow_pl.report.run_curves import draw_curves

    print(draw_curves(places, options.out, options.runs))
    return 0


def _completion(shell: str, options: CompletionOptions) -> int:
    print(whole_parser(deep=True).get_completion_script(f"shtab-{shell}"))
    return 0


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "predict",
            PredictOptions,
            _later("repflow_pl.showing.predict:predict"),
            "videos",
            {
                "nargs": "*",
                "type": Path,
                "default": SUPPRESS,
                "help": "files, or folders of videos",
            },
        ),
        Command(
            "look",
            LookOptions,
            _later("repflow_pl.showing.look:look"),
            "video",
            {"type": Path, "help": "a file"},
        ),
        Command(
            "export",
            ExportOptions,
            _later("repflow_pl.showing.export:export"),
            "weights",
            {
                "type": Path,
                "help": "a run's folder or checkpoint, a weights file, the authors' file",
            },
        ),
        Command(
            "curves",
            CurvesOptions,
            _curves,
            "places",
            {"nargs": "+", "help": "folders of runs, or beginnings of runs' names in RUNS"},
        ),
        Command(
            "audit",
            AuditOptions,
            _later("repflow_pl.audit.run:audit"),
            "root",
            {
                "nargs": "?",
                "type": Path | None,
                "default": SUPPRESS,
                "help": "the set's folder; a set that has a place in the user's cache needs none",
            },
        ),
        Command(
            "completion", CompletionOptions, _completion, "shell", {"choices": SUPPORTED_SHELLS}
        ),
    )
}


def whole_parser(deep: bool = False) -> ArgumentParser:
    """All parts in one parser: for --help; `deep`, with the programs' own, for completion."""
    parser = new_parser("Representation flow, taken to your own videos.", prog=NAME)
    parts = parser.add_subcommands(dest="command")
    for command in COMMANDS.values():
        short = (command.options.__doc__ or "").partition("\n")[0]
        parts.add_subcommand(command.name, command.parser(), help=short)
    for program in PROGRAMS.values():
        part = new_parser(program.about, prog=f"{NAME} {program.name}")
        parts.add_subcommand(program.name, part, help=program.about)
        if deep:
            program.add_to(part)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part of the command; 0, 1 where some of the work failed, 2 for a mistake."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return status_of(lambda: _run(given))


def _run(given: list[str]) -> int:
    if given and given[0].startswith("-"):
        read(whole_parser(), given)  # for --help
    names = (*COMMANDS, *PROGRAMS)
    if not given or given[0].startswith("-"):
        raise UserError(f"name what to do: one of {', '.join(names)}; see --help.")
    if given[0] not in names:
        raise unknown("command", given[0], names)
    return (COMMANDS | PROGRAMS)[given[0]].call(given[1:])


if __name__ == "__main__":
    sys.exit(main())
