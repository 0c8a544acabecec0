"""Command line: python -m repflow_pl.data {import,verify,prepare} ..., see --help."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from repflow_pl.data.decoding.decode import Decoder, choose_decoder
from repflow_pl.data.index import SPLITS, open_set, set_names
from repflow_pl.data.sets.ut_interaction import NAME
from repflow_pl.data.upkeep.prepare import Options, prepare
from repflow_pl.data.upkeep.unpack import import_archive
from repflow_pl.data.upkeep.verify import lines, verify
from repflow_pl.errors import UserError, unknown
from repflow_pl.options import add_options, new_parser, read, take
from repflow_pl.program import GO_ON, status_of

PROGRAM = "python -m repflow_pl.data"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an incomplete set, 2 for a mistake."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return status_of(lambda: _run(given), interrupted=GO_ON)


def add_to(whole: ArgumentParser) -> None:
    """Give a parser all commands: for --help and a shell's completion."""
    parts = whole.add_subcommands(dest="command", required=False)
    for name, (parser, _) in _commands().items():
        parts.add_subcommand(name, parser, help=parser.description)


@dataclass(frozen=True)
class Place:
    """Of `import`."""

    data_root: Path | None = None
    """Where to unpack it, by default the user's cache."""


@dataclass(frozen=True)
class Processes:
    """Of what decodes."""

    workers: int | None = None
    """Processes, by default as many as there are cores."""


@dataclass(frozen=True)
class Decoding:
    """Of `verify`."""

    decoder: Decoder | None = None
    """pyav or decord, which read the same frames; by default $REPFLOW_DECODER or, without it,
    pyav."""


def _commands() -> dict[str, tuple[ArgumentParser, Callable[[Namespace], int]]]:
    sets = f"one of: {', '.join(set_names())}"
    unpacked = _parser(
        "import",
        "Unpack a data set's archive and check its videos.",
        {"name": f"one of: {NAME}", "archive": "the archive, as it was fetched"},
        Place,
    )
    verified = _parser(
        "verify",
        "Decode every file, keep what was found for training, and say what is missing or "
        "corrupted; exit status 1 where anything is. Interrupted, it goes on where it was.",
        {"name": sets, "root": "the data set's folder"},
        Processes,
        Decoding,
    )
    prepared = _parser(
        "prepare",
        "Unpack a data set's archives, re-encode its videos to be small, compute their TV-L1 flow. "
        "What is there already is kept: interrupted, run the same command again.",
        {
            "name": sets,
            "root": "the folder of the archives or the videos",
            "out": "the folder to make",
        },
        Options,
        Processes,
    )
    return {
        "import": (unpacked, _import),
        "verify": (verified, _verify),
        "prepare": (prepared, _prepare),
    }


def _parser(
    command: str, description: str, places: dict[str, str], *options: type[Any]
) -> ArgumentParser:
    parser = new_parser(description, prog=f"{PROGRAM} {command}")
    for name, text in places.items():
        parser.add_argument(name, type=str if name == "name" else Path, help=text)
    for each in options:
        add_options(parser, each)
    return parser


def _run(given: list[str]) -> int:
    commands = _commands()
    if not given or given[0].startswith("-"):
        whole = new_parser("Look after data sets.", prog=PROGRAM)
        add_to(whole)
        read(whole, given)  # for --help
        raise UserError(f"name what to do: one of {', '.join(commands)}; see --help.")
    if given[0] not in commands:
        raise unknown("command", given[0], commands)
    parser, run = commands[given[0]]
    options = read(parser, given[1:])
    if options.get("decoder") is not None:
        choose_decoder(options.decoder)
    return run(options)


def _import(given: Namespace) -> int:
    if given.name != NAME:
        raise unknown("importer", given.name, [NAME])
    root = import_archive(given.archive, given.data_root)
    opened = open_set(given.name, root)
    counts = ", ".join(f"{len(opened.part(split))} {split}" for split in SPLITS)
    print(f"{given.name} in {root}")
    print(f"{len(opened.classes)} classes; videos: {counts}; {len(opened.broken)} broken")
    return 0


def _verify(given: Namespace) -> int:
    report = verify(given.name, given.root, given.workers)
    for line in lines(report):
        print(line)
    return 0 if report.complete else 1


def _prepare(given: Namespace) -> int:
    options = take(Options, given.as_dict())
    videos, failed = prepare(given.name, given.root, given.out, options, given.workers)
    print(f"{given.name} in {given.out}: {videos} videos, {len(failed)} left out")
    for file in failed:
        print(f"  {file.path}: {file.reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
