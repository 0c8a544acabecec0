"""Command line: python -m repflow_pl.data import ut_interaction ARCHIVE [--data-root ROOT]."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from repflow_pl.data.index import SPLITS, open_set
from repflow_pl.data.ut_interaction import NAME, import_archive
from repflow_pl.errors import UserError, unknown

IMPORTERS = {NAME: import_archive}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = ArgumentParser(prog="python -m repflow_pl.data", description="Look after data sets.")
    commands = parser.add_subcommands(dest="command")
    importer = ArgumentParser(description="Unpack a data set's archive and check its videos.")
    importer.add_argument("name", help=f"one of: {', '.join(IMPORTERS)}")
    importer.add_argument("archive", type=Path, help="the archive, as it was fetched")
    importer.add_argument(
        "--data-root", type=Path | None, help="where to unpack it, default: the user's cache"
    )
    commands.add_subcommand("import", importer)
    given = parser.parse_args(arguments)["import"]
    try:
        if given.name not in IMPORTERS:
            raise unknown("importer", given.name, IMPORTERS)
        root = IMPORTERS[given.name](given.archive, given.data_root)
        opened = open_set(given.name, root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = ", ".join(f"{len(opened.part(split))} {split}" for split in SPLITS)
    print(f"{given.name} in {root}")
    print(f"{len(opened.classes)} classes; videos: {counts}; {len(opened.broken)} broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
