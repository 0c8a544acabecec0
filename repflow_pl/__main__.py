"""The command `repflow`, also python -m repflow_pl: see --help."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repflow_pl.extras import needs

with needs("video", program=True, signals=True):
    from jsonargparse import ArgumentParser

    from repflow_pl.audit.options import AuditOptions
    from repflow_pl.ending import ended_by_signals
    from repflow_pl.errors import INTERRUPTED, TERMINATED, Terminated, UserError, unknown
    from repflow_pl.options import add_options, new_parser, read, take
    from repflow_pl.showing.options import CurvesOptions, ExportOptions, LookOptions, PredictOptions

NAME = "repflow"


@dataclass(frozen=True)
class Command:
    """A part of the command: its options, what stands before them, and what it does."""

    name: str
    options: type[Any]
    add_places: Callable[[ArgumentParser], None]
    run: Callable[..., int]
    """Takes the places by their names and the options; imports what it needs only when called."""

    def parser(self) -> ArgumentParser:
        """Its parser, for `options.read`."""
        parser = new_parser(self.options.__doc__, prog=f"{NAME} {self.name}")
        self.add_places(parser)
        add_options(parser, self.options)
        return parser

    def call(self, arguments: Sequence[str]) -> int:
        """Do it; the exit status."""
        given = read(self.parser(), arguments).as_dict()
        options = take(self.options, given)
        return self.run(options=options, **given)


@dataclass(frozen=True)
class Program:
    """A part of the command that is also a program by itself, with parsers of its own."""

    name: str
    about: str
    run: Callable[[list[str]], int]

    def parser(self) -> ArgumentParser:
        """For --help of the whole."""
        return new_parser(self.about, prog=f"{NAME} {self.name}")


def _table(arguments: list[str]) -> int:
    from repflow_pl.scripts import main

    return main(arguments)


def _data(arguments: list[str]) -> int:
    from repflow_pl.data.__main__ import main

    return main(arguments)


def _report(arguments: list[str]) -> int:
    from repflow_pl.report.__main__ import main

    return main(arguments)


PROGRAMS = {
    program.name: program
    for program in (
        Program("table", "Run the script of a table or a benchmark, as placement.", _table),
        Program("data", "Import, verify and prepare data sets.", _data),
        Program("report", "Join tables, bring results from W&B, write pages.", _report),
    )
}


def _add_videos(parser: ArgumentParser) -> None:
    parser.add_argument("videos", nargs="*", type=Path, help="files, or folders of videos")


def _predict(videos: Sequence[Path], options: PredictOptions) -> int:
    from repflow_pl.showing.predict import predict

    return predict(videos, options)


def _add_video(parser: ArgumentParser) -> None:
    parser.add_argument("video", type=Path, help="a file")


def _look(video: Path, options: LookOptions) -> int:
    from repflow_pl.showing.look import look

    return look(video, options)


def _add_weights(parser: ArgumentParser) -> None:
    parser.add_argument(
        "weights", type=Path, help="a run's folder or checkpoint, a weights file, the authors' file"
    )


def _export(weights: Path, options: ExportOptions) -> int:
    from repflow_pl.showing.export import export

    return export(weights, options)


def _add_runs(parser: ArgumentParser) -> None:
    parser.add_argument(
        "places", nargs="+", help="folders of runs, or beginnings of runs' names in RUNS"
    )


def _curves(places: Sequence[str], options: CurvesOptions) -> int:
    from repflow_pl.report.run_curves import draw_curves

    print(draw_curves(places, options.out, options.runs))
    return 0


def _add_set(parser: ArgumentParser) -> None:
    parser.add_argument(
        "root",
        nargs="?",
        type=Path | None,
        help="the set's folder; a set that has a place in the user's cache needs none",
    )


def _audit(root: Path | None, options: AuditOptions) -> int:
    from repflow_pl.audit.run import audit

    return audit(root, options)


COMMANDS = {
    command.name: command
    for command in (
        Command("predict", PredictOptions, _add_videos, _predict),
        Command("look", LookOptions, _add_video, _look),
        Command("export", ExportOptions, _add_weights, _export),
        Command("curves", CurvesOptions, _add_runs, _curves),
        Command("audit", AuditOptions, _add_set, _audit),
    )
}


def whole_parser() -> ArgumentParser:
    """All parts in one parser: for --help and a shell's completion."""
    parser = new_parser("Representation flow, taken to your own videos.", prog=NAME)
    parts = parser.add_subcommands(dest="command")
    for command in COMMANDS.values():
        short = (command.options.__doc__ or "").partition("\n")[0]
        parts.add_subcommand(command.name, command.parser(), help=short)
    for program in PROGRAMS.values():
        parts.add_subcommand(program.name, program.parser(), help=program.about)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one part of the command; 0, 1 where some of the work failed, 2 for a mistake."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if given[:1] and given[0] in PROGRAMS and "_ARGCOMPLETE" not in os.environ:
            return PROGRAMS[given[0]].run(given[1:])
        with ended_by_signals():
            return _run(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("interrupted.", file=sys.stderr)
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    except BrokenPipeError:  # what is printed goes to a program that has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        place = f" {error.filename}" if error.filename else ""
        print(f"error: cannot write{place}: {error.strerror}; free some space.", file=sys.stderr)
        return 2


def _run(given: list[str]) -> int:
    named = given[:1]
    if "_ARGCOMPLETE" in os.environ or (named and named[0].startswith("-")):
        read(whole_parser(), given)
    if not named:
        raise UserError(f"name what to do: one of {', '.join((*COMMANDS, *PROGRAMS))}; see --help.")
    if named[0] not in COMMANDS:
        raise unknown("command", named[0], (*COMMANDS, *PROGRAMS))
    return COMMANDS[named[0]].call(given[1:])


if __name__ == "__main__":
    sys.exit(main())
