"""`python -m repflow_pl.report`: join the rendered tables into one page and the README."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import CLI

from repflow_pl.errors import UserError
from repflow_pl.report.join import join


def report(tables: Path = Path("tables"), readme: Path = Path("README.md")) -> None:
    """Join all tables into TABLES/README.md and rewrite the README's placement block.

    Args:
        tables: folder with <data set>/<table>.md.
        readme: page with the markers of the block; left alone where it is absent or has none.
    """
    for path in join(tables, readme):
        print(f"wrote {path}")


def main(arguments: list[str] | None = None) -> int:
    """The command line; a mistake is one sentence and exit status 2."""
    try:
        CLI(report, args=arguments, as_positional=False)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
