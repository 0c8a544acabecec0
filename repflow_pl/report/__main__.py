"""Command line: python -m repflow_pl.report [{wandb,html}] ..., see --help."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from repflow_pl.errors import unknown
from repflow_pl.options import add_arguments, call, new_parser, parser_of, read
from repflow_pl.program import status_of
from repflow_pl.report.join import join
from repflow_pl.report.pull import open_api, pull

PROGRAM = "python -m repflow_pl.report"


def report(tables: Path = Path("tables"), readme: Path = Path("README.md")) -> None:
    """Join all tables into TABLES/README.md and rewrite the README's placement block.

    Args:
        tables: folder with <data set>/<table>.md.
        readme: page with the markers of the block; left alone where it is absent or has none.
    """
    for path in join(tables, readme):
        print(f"wrote {path}")


def wandb(project: str, runs: Path = Path("runs")) -> int:
    """Bring the results of a W&B project's finished runs into RUNS; what is there already stays.

    Args:
        project: ENTITY/PROJECT
        runs: folder with <spec hash>/seed<k>/.
    """
    outcomes = []
    for outcome in pull(open_api(), project, runs):
        print(outcome)
        outcomes.append(outcome.state)
    new, there, refused = (outcomes.count(state) for state in ("new", "there", "refused"))
    print(f"{new} brought, {there} were there, {refused} refused.")
    return 1 if refused else 0


def html(tables: Path = Path("tables"), out: Path = Path("html")) -> int:
    """Write all tables, claims and curves as pages for a browser, with LaTeX of each table.

    Args:
        tables: folder with <data set>/<table>.md; your own are in tables/yours.
        out: folder for the pages, which need no network.
    """
    from repflow_pl.report.site import write_site

    first, count = write_site(tables, out)
    print(f"wrote {count} pages: open {first} in a browser.")
    return 0


COMMANDS: dict[str, Callable[..., int]] = {"wandb": wandb, "html": html}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default `report`; returns the exit status: 0, 1 where a result was
    refused, 2 for a mistake."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return status_of(lambda: _run(given), interrupted="interrupted: run the same command again.")


def add_to(whole: ArgumentParser) -> None:
    """Give a parser all commands, and the arguments of `report`, which needs none."""
    add_arguments(whole, report)
    parts = whole.add_subcommands(dest="command", required=False)
    for name, function in COMMANDS.items():
        parser = parser_of(function, prog=f"{PROGRAM} {name}")
        parts.add_subcommand(name, parser, help=parser.description)


def _run(given: list[str]) -> int:
    if given and not given[0].startswith("-"):
        if given[0] not in COMMANDS:
            raise unknown("command", given[0], COMMANDS)
        return call(COMMANDS[given[0]], given[1:], prog=f"{PROGRAM} {given[0]}")
    about = "Join all tables into TABLES/README.md and the README, or run a command."
    whole = new_parser(about, prog=PROGRAM)
    add_to(whole)
    asked = read(whole, given)
    report(asked.tables, asked.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
