"""Command line: python -m repflow_pl.data {import,verify,prepare} ..., see --help."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from repflow_pl.data.decoding.decode import Decoder, choose_decoder
from repflow_pl.data.index import SPLITS, open_set, set_names
from repflow_pl.data.sets.ut_interaction import NAME
from repflow_pl.data.upkeep.prepare import Options, prepare
from repflow_pl.data.upkeep.unpack import import_archive
from repflow_pl.data.upkeep.verify import lines, verify
from repflow_pl.errors import UserError, unknown
from repflow_pl.options import add_config, new_parser, read
from repflow_pl.program import GO_ON, status_of

PROGRAM = "python -m repflow_pl.data"
IMPORTERS = {NAME: import_archive}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an incomplete set, 2 for a mistake."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return status_of(lambda: _run(given), interrupted=GO_ON)


def add_to(whole: ArgumentParser) -> None:
    """Give a parser all commands: for --help and a shell's completion."""
    parts = whole.add_subcommands(dest="command", required=False)
    for name, (parser, _) in _commands().items():
        parts.add_subcommand(name, parser, help=parser.description)


def _commands() -> dict[str, tuple[ArgumentParser, Callable[[Namespace], int]]]:
    return {
        "import": (_import_parser(), _import),
        "verify": (_verify_parser(), _verify),
        "prepare": (_prepare_parser(), _prepare),
    }


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


def _parser(command: str, description: str) -> ArgumentParser:
    parser = new_parser(description, prog=f"{PROGRAM} {command}")
    add_config(parser)
    return parser


def _import_parser() -> ArgumentParser:
    parser = _parser("import", "Unpack a data set's archive and check its videos.")
    parser.add_argument("name", help=f"one of: {', '.join(IMPORTERS)}")
    parser.add_argument("archive", type=Path, help="the archive, as it was fetched")
    parser.add_argument(
        "--data-root", type=Path | None, help="where to unpack it, by default the user's cache"
    )
    return parser


def _import(given: Namespace) -> int:
    if given.name not in IMPORTERS:
        raise unknown("importer", given.name, IMPORTERS)
    root = IMPORTERS[given.name](given.archive, given.data_root)
    opened = open_set(given.name, root)
    counts = ", ".join(f"{len(opened.part(split))} {split}" for split in SPLITS)
    print(f"{given.name} in {root}")
    print(f"{len(opened.classes)} classes; videos: {counts}; {len(opened.broken)} broken")
    return 0


def _verify_parser() -> ArgumentParser:
    parser = _parser(
        "verify",
        "Decode every file, keep what was found for training, and say what is missing "
        "or corrupted; exit status 1 where anything is. Interrupted, it goes on where it was.",
    )
    parser.add_argument("name", help=f"one of: {', '.join(set_names())}")
    parser.add_argument("root", type=Path, help="the data set's folder")
    _add_workers(parser)
    return parser


def _verify(given: Namespace) -> int:
    report = verify(given.name, given.root, given.workers)
    for line in lines(report):
        print(line)
    return 0 if report.complete else 1


def _prepare_parser() -> ArgumentParser:
    parser = _parser(
        "prepare",
        "Unpack a data set's archives, re-encode its videos to be small, compute their "
        "TV-L1 flow. What is there already is kept: interrupted, run the same command again.",
    )
    parser.add_argument("name", help=f"one of: {', '.join(set_names())}")
    parser.add_argument("root", type=Path, help="the folder of the archives or the videos")
    parser.add_argument("out", type=Path, help="the folder to make")
    parser.add_argument(
        "--short-side",
        type=int | None,
        help="re-encode to H.264 with this short side, in pixels; by default sizes stay",
    )
    parser.add_argument(
        "--fps", type=float | None, help="re-encode at this frame rate; by default rates stay"
    )
    parser.add_argument("--flow", action="store_true", help="compute TV-L1 flow, kept as 8 bit")
    parser.add_argument(
        "--flow-stride", type=int, default=1, help="frames from one of a flow's pair to the other"
    )
    _add_workers(parser)
    return parser


def _prepare(given: Namespace) -> int:
    options = Options(given.short_side, given.fps, given.flow, given.flow_stride)
    videos, failed = prepare(given.name, given.root, given.out, options, given.workers)
    print(f"{given.name} in {given.out}: {videos} videos, {len(failed)} left out")
    for file in failed:
        print(f"  {file.path}: {file.reason}")
    return 1 if failed else 0


def _add_workers(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=int | None, help="processes, by default as many as there are cores"
    )
    parser.add_argument(
        "--decoder",
        type=Decoder | None,
        help="pyav or decord, which read the same frames; by default $REPFLOW_DECODER or, without "
        "it, pyav",
    )


if __name__ == "__main__":
    sys.exit(main())
