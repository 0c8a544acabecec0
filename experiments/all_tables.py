"""All tables of the paper: every script of this folder, its runs shared with the others.

    python experiments/all_tables.py                               # embedded data, two CPU cores
    python experiments/all_tables.py --seeds 3
    python experiments/all_tables.py --from-results tables/runs    # from results alone, no training

A run that several tables show is made once; tables/yours/README.md joins the tables. Last comes
table_runtime.py, which trains nothing; `--from-results` and `--rows` leave its page as it is,
because times cannot be taken from results.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from repflow_pl.cli import Options, main, parse
from repflow_pl.ending import ended_by_signals
from repflow_pl.errors import INTERRUPTED
from repflow_pl.report.paper import in_papers_order
from repflow_pl.tables import NOT_TIMED, Setting, TableBuilder
from repflow_pl.training.planning.ranks import is_main_process

FOLDER = Path(__file__).parent
RUNTIME = FOLDER / "table_runtime.py"
"""The one table that no runs are behind."""


def builder(name: str) -> TableBuilder:
    """The function that makes a table: `table_<name>.py` calls it `<name>`."""
    spec = importlib.util.spec_from_file_location(f"table_{name}", FOLDER / f"table_{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: TableBuilder = getattr(module, name)
    return function


def table_names() -> list[str]:
    """One for each script whose rows are runs, in the order of the paper."""
    scripts = [path for path in FOLDER.glob("table_*.py") if path != RUNTIME]
    return in_papers_order(path.stem.removeprefix("table_") for path in scripts)


def all_tables(arguments: Sequence[str]) -> int:
    """Run everything; returns the exit status, 0 only where all went well."""
    status = main(*map(builder, table_names()), arguments=arguments)
    if status not in (0, 1):  # a mistake, or interrupted
        return status
    command = runtime_command(parse(arguments))
    if command is None or not is_main_process():
        return status
    try:
        # A process of its own: what a trainer sets would change the times.
        with ended_by_signals():
            timed = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
    return status or timed


def runtime_command(options: Options) -> list[str] | None:
    """How the run times are measured with the same options; None where they are not asked for."""
    if options.list or options.from_results is not None or options.rows != "all":
        return None
    defaults = {name: getattr(Setting(), name) for name in NOT_TIMED}
    setting = dataclasses.replace(options.setting, **defaults)
    command = [sys.executable, str(RUNTIME), *setting.arguments(), "--out", str(options.out)]
    return command if options.data_root is None else [*command, f"--data-root={options.data_root}"]


if __name__ == "__main__":
    sys.exit(all_tables(sys.argv[1:]))
