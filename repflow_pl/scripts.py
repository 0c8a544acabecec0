"""The scripts of experiments/, also where there is no checkout:

    python -m repflow_pl.scripts placement --list

is `python experiments/table_placement.py --list`, as `repflow table placement --list` is; without
arguments all are named.
"""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from repflow_pl.errors import unknown
from repflow_pl.program import status_of

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

HERE = Path(__file__).parent
FOLDER = next(each for each in (HERE / "experiments", HERE.parent / "experiments") if each.is_dir())
"""Within the package where it was installed from a wheel, else beside it."""
OF_A_CHECKOUT = "publish"
"""Changes the files of one, so it is run there by its path."""


def script_names() -> list[str]:
    """What can be run."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != OF_A_CHECKOUT)


def script(name: str) -> Path:
    """A script's file; `table_` may be left out of its name. Errors: UserError."""
    names = script_names()
    for each in (name, f"table_{name}"):
        if each in names:
            return FOLDER / f"{each}.py"
    raise unknown("script", name, names)


def main(arguments: Sequence[str]) -> int:
    """Run a script as a program; it may exit by itself. Errors: UserError where there is none."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        for name in script_names():
            print(f"{name:20} {_about(FOLDER / f'{name}.py')}")
        return 0
    name, *others = arguments
    path = script(name)
    sys.path.insert(0, str(FOLDER))  # where the scripts find each other
    sys.argv = [str(path), *others]
    runpy.run_path(str(path), run_name="__main__")
    return 0


def add_to(parser: ArgumentParser) -> None:
    """The scripts with their options, for a shell's completion."""
    from repflow_pl import cli
    from repflow_pl.options import parser_for

    sys.path.insert(0, str(FOLDER))
    parts = parser.add_subcommands(dest="script")
    for name in script_names():
        module = import_module(name)
        options = getattr(module, "Options", cli.Options)
        if options is cli.Options:  # of tables, and of what trains one's rows
            part = cli.new_table_parser()
        else:
            part = parser_for(options, getattr(module, "SKIP", ()))
        about = _about(FOLDER / f"{name}.py")
        parts.add_subcommand(name.removeprefix("table_"), part, help=about)


def _about(path: Path) -> str:
    """The first line of a script's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(sys.argv[1:])))
