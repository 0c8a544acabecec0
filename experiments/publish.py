"""For the maintainers: put into tables/ what was measured, and renew the page and the README.

    make publish                                  # every setting that there are tables of
    make publish ARGS="--data ut_interaction"     # one setting, named as for the tables

The tables that are in OUT/tables/yours, or published already, are rendered from all results that
there are: those in tables/runs, to which those in OUT/runs are added first. Run times, flow fields
and benchmarks, which no results are behind, are copied. No command but this one writes to tables/.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from all_tables import builder, table_names
from bench_precision import precision
from choose_recipe import recipe

from repflow_pl import cli
from repflow_pl.data.upkeep.facts import facts_path
from repflow_pl.errors import UserError
from repflow_pl.options import add_options, new_parser, read, take
from repflow_pl.program import status_of
from repflow_pl.report.fields_page import NAME as FIELDS
from repflow_pl.report.join import find_pages, join
from repflow_pl.report.page import YOURS, write, write_page
from repflow_pl.report.publish import unite
from repflow_pl.tables import Setting, TableBuilder, kept_tables, write_table

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Options:
    """Publish tables, with the results they rest on, the run times and the benchmarks."""

    setting: Setting | None = None
    """The one to publish; None: all that there are tables of, in `out` or published."""
    out: Path = Path()
    """Folder with the runs/ and tables/yours/ that are to be published."""


def main(arguments: Sequence[str], checkout: Path = CHECKOUT) -> int:
    """Publish; returns the exit status: 0, or 2 for a mistake."""
    return status_of(lambda: publish(parse(arguments), checkout))


def parse(arguments: Sequence[str]) -> Options:
    """The command line as Options. Errors: UserError, one sentence; --help exits by itself."""
    parser = new_parser(Options.__doc__)
    parser.add_argument(
        "--data",
        type=str | None,
        help="Data set of the one setting that is published, which the options below are of. By "
        "default every setting that there are tables of, in OUT or published.",
    )
    add_options(parser, Setting, skip={"data"})
    add_options(parser, Options, skip={"setting"})
    given = read(parser, arguments).as_dict()
    out, data = given.pop("out"), given.pop("data")
    setting: Setting = take(Setting, given)
    if data is not None:
        return Options(dataclasses.replace(setting, data=data), out)
    if setting != Setting():
        raise UserError("these options are of one setting: name its data set too, with --data.")
    return Options(out=out)


def publish(options: Options, checkout: Path) -> None:
    """Unite the results, render the tables, copy what was timed, join all.

    Errors: UserError where there is nothing to publish.
    """
    made, tables = options.out / YOURS, checkout / "tables"
    setting = options.setting and options.setting.plain()
    folder = setting.folder("*") if setting else "*"
    for page in (*copied(made, folder), *sorted(made.glob("bench/*.md"))):
        text, csv = (page.with_suffix(kind).read_text(encoding="utf-8") for kind in (".md", ".csv"))
        png = page.with_suffix(".png").read_bytes()
        print(write_page(tables / page.parent.name / page.stem, text, csv, png).said)
    # After them: a table has the times that were taken of its rows.
    if setting is None:
        for each in settings_of(made, tables):
            renew(each, options.out, tables)
    elif tables_of(setting, (made, tables)) or not any(copied(made, folder)):
        renew(setting, options.out, tables)
    for path in join(tables, checkout / "README.md"):
        print(f"wrote {path}")


def copied(made: Path, folder: str) -> list[Path]:
    """The pages of a setting that no results are behind: run times, flow fields."""
    return sorted({*made.glob(f"{folder}/runtime*.md"), *made.glob(f"{folder}/{FIELDS}.md")})


def settings_of(*folders: Path) -> list[Setting]:
    """The settings that folders have tables of: those of the commands that their pages name.

    Errors: UserError where a table's page names no command, or none of this version.
    """
    known, commands = all_builders(), []
    for folder in folders:
        for page in find_pages(folder):
            if page.name not in known:
                continue
            command = re.search(r"^- Made by `python \S+(.*)`\.$", page.text, re.MULTILINE)
            if command is None:
                raise UserError(f"{folder / page.data / page.name}.md names no command: remove it.")
            commands.append(command[1])
    found = (cli.parse(shlex.split(each)).setting.plain() for each in dict.fromkeys(commands))
    return list(dict.fromkeys(found))


def renew(setting: Setting, out: Path, tables: Path) -> None:
    """Publish the results and the tables of a setting.

    Errors: UserError where there are none.
    """
    runs, folders = out / "runs", (out / YOURS, tables)
    builders = tables_of(setting, folders)
    if not builders:
        raise UserError(
            f"there is no table {setting.folder('*')} in {' or '.join(map(str, folders))}: make it "
            "first, or name the setting that it was made with, as --data or --profile."
        )
    if any((runs / "data").glob(f"{setting.data}-*.json")):
        bring(builders, setting, runs, tables / "runs")
    facts, found = kept_tables(builders, setting, tables / "runs")
    for table in found:
        print(write_table(table, facts, setting, tables / "runs", 1, tables).said)


def all_builders() -> dict[str, TableBuilder]:
    """Every table that can be published, by its name."""
    names = {name: builder(name) for name in table_names()}
    return names | {"precision": precision, "recipe": recipe}


def tables_of(setting: Setting, folders: Sequence[Path]) -> list[TableBuilder]:
    """The tables that have a page of this setting in one of the folders."""
    folder = setting.folder("*")
    return [
        build
        for name, build in all_builders().items()
        if any(path for root in folders for path in root.glob(f"{folder}/{name}.md"))
    ]


def bring(builders: Sequence[TableBuilder], setting: Setting, runs: Path, into: Path) -> None:
    """Add the results of the tables, and the facts of their data sets, to the published ones."""
    facts, found = kept_tables(builders, setting, runs)
    for each in facts:
        path = facts_path(runs, each.name, each.fingerprint)
        write(into / "data" / path.name, path.read_bytes())
    for table in found:
        counts = unite(table, runs, into)
        print(f"{table.name}: " + (", ".join(f"{n} {s}" for s, n in counts.items()) or "no runs"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
