"""All tables of the paper: every script of this folder, its runs shared with the others.

    python experiments/all_tables.py                               # embedded data, two CPU cores
    python experiments/all_tables.py --seeds 3
    python experiments/all_tables.py --from-results tables/runs    # from results alone, no training

A run that several tables show is made once. Afterwards tables/README.md and the README's block are
written anew.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from repflow_pl.cli import main
from repflow_pl.report.join import in_papers_order
from repflow_pl.tables import TableBuilder

FOLDER = Path(__file__).parent


def builder(name: str) -> TableBuilder:
    """The function that makes a table: `table_<name>.py` calls it `<name>`."""
    spec = importlib.util.spec_from_file_location(f"table_{name}", FOLDER / f"table_{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: TableBuilder = getattr(module, name)
    return function


def table_names() -> list[str]:
    """One for each script, in the order of the paper."""
    return in_papers_order(path.stem.removeprefix("table_") for path in FOLDER.glob("table_*.py"))


if __name__ == "__main__":
    sys.exit(main(*map(builder, table_names()), readme=True))
