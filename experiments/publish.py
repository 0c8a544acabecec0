"""For the maintainers: put into tables/ what was measured, and renew the page and the README.

    make publish                                  # the demo tables of the embedded data set
    make publish ARGS="--data ut_interaction"     # of another setting, named as for the tables

The tables of one setting that are in OUT/tables/yours, or published already, are rendered from all
results that there are: those in tables/runs, to which those in OUT/runs are added first. Run times
and benchmarks, which no results are behind, are copied. No command but this one writes to tables/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from all_tables import builder, table_names
from bench.command import status_of
from bench_precision import precision
from choose_recipe import recipe
from jsonargparse import ArgumentParser

from repflow_pl.data.facts import facts_path
from repflow_pl.errors import UserError
from repflow_pl.options import add_options, read
from repflow_pl.report.join import join
from repflow_pl.report.page import YOURS, write_page
from repflow_pl.report.publish import copy, unite
from repflow_pl.tables import Setting, TableBuilder, kept_tables, plain_setting, write_table

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Options:
    """Publish the tables of a setting, with the results they rest on, the run times and the
    benchmarks."""

    setting: Setting = field(default_factory=Setting)
    out: Path = Path()
    """Folder with the runs/ and tables/yours/ that are to be published."""


def main(arguments: Sequence[str], checkout: Path = CHECKOUT) -> int:
    """Publish; returns the exit status: 0, or 2 for a mistake."""
    return status_of(lambda: publish(parse(arguments), checkout))


def parse(arguments: Sequence[str]) -> Options:
    """The command line as Options. Errors: UserError, one sentence; --help exits by itself."""
    parser = ArgumentParser(description=Options.__doc__, exit_on_error=False)
    add_options(parser, Setting)
    add_options(parser, Options, skip={"setting"})
    given = read(parser, arguments).as_dict()
    return Options(out=given.pop("out"), setting=Setting(**given))


def publish(options: Options, checkout: Path) -> None:
    """Unite the results, render the tables, copy what was timed, join all.

    Errors: UserError where there is nothing to publish in this setting.
    """
    setting, runs, made = plain_setting(options.setting), options.out / "runs", options.out / YOURS
    tables = checkout / "tables"
    builders = chosen(setting, (made, tables))
    if any((runs / "data").glob(f"{setting.data}-*.json")):
        bring(builders, setting, runs, tables / "runs")
    facts, found = kept_tables(builders, setting, tables / "runs")
    for table in found:
        print(write_table(table, facts, setting, tables / "runs", 1, tables).said)
    for page in (*made.glob(f"{setting.folder(facts[0].fingerprint)}/runtime*.md"),
                 *sorted(made.glob("bench/*.md"))):  # fmt: skip
        text, csv = (page.with_suffix(kind).read_text(encoding="utf-8") for kind in (".md", ".csv"))
        png = page.with_suffix(".png").read_bytes()
        print(write_page(tables / page.parent.name / page.stem, text, csv, png).said)
    for path in join(tables, checkout / "README.md"):
        print(f"wrote {path}")


def chosen(setting: Setting, folders: Sequence[Path]) -> list[TableBuilder]:
    """The tables that have a page of this setting in one of the folders."""
    folder = setting.folder("*")
    builders = {name: builder(name) for name in table_names()} | {
        "precision": precision,
        "recipe": recipe,
    }
    found = [
        build
        for name, build in builders.items()
        if any(path for root in folders for path in root.glob(f"{folder}/{name}.md"))
    ]
    if not found:
        raise UserError(
            f"there is no table {folder} in {' or '.join(map(str, folders))}: make it first, or "
            "name the setting that it was made with, as --data or --profile."
        )
    return found


def bring(builders: Sequence[TableBuilder], setting: Setting, runs: Path, into: Path) -> None:
    """Add the results of the tables, and the facts of their data sets, to the published ones."""
    facts, found = kept_tables(builders, setting, runs)
    for each in facts:
        path = facts_path(runs, each.name, each.fingerprint)
        copy(path.read_bytes(), into / "data" / path.name)
    for table in found:
        counts = unite(table, runs, into)
        print(f"{table.name}: " + (", ".join(f"{n} {s}" for s, n in counts.items()) or "no runs"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
