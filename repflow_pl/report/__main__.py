"""`python -m repflow_pl.report`: join the rendered tables into one page and the README; with `wandb
ENTITY/PROJECT`: bring results of other machines; with `html`: pages for a browser."""

from __future__ import annotations

import sys
from pathlib import Path

from repflow_pl.ending import ended_by_signals
from repflow_pl.errors import INTERRUPTED, UserError
from repflow_pl.options import call
from repflow_pl.report.join import join
from repflow_pl.report.pull import open_api, pull


def report(tables: Path = Path("tables"), readme: Path = Path("README.md")) -> None:
    """Join all tables into TABLES/README.md and rewrite the README's placement block.

    `python -m repflow_pl.report wandb ENTITY/PROJECT` brings results of W&B runs into runs/.

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


def main(arguments: list[str] | None = None) -> int:
    """The command line; a mistake is one sentence and exit status 2, a refused result status 1."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with ended_by_signals():
            if given[:1] == ["wandb"]:
                return call(wandb, given[1:])
            if given[:1] == ["html"]:
                return call(html, given[1:])
            call(report, given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
