"""Runs of one split with their weights, for scripts that look at networks and have no rows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from repflow_pl.cli import Options, train
from repflow_pl.data.index import VideoSet
from repflow_pl.errors import UserError
from repflow_pl.options import parse as options_of
from repflow_pl.tables import Setting, TableBuilder, refuse_void, tables_on
from repflow_pl.training.planning.jobs import Job, is_made
from repflow_pl.training.planning.ranks import check_machine

FIELDS = ("data_root", "devices", "wandb", "out")
"""Options that such a script has beside those of the setting."""


def parse(about: str, arguments: Sequence[str]) -> Options:
    """The command line as Options. Errors: UserError, one sentence; --help exits by itself."""
    others = Options.__dataclass_fields__.keys() - {*FIELDS}
    options = options_of(Options, arguments, skip=others, about=about)
    if options.setting.split == "all":
        raise UserError("this is of one split: name --split 1, 2 or 3.")
    return options


def first_runs(builder: TableBuilder, setting: Setting, video_set: VideoSet) -> list[Job]:
    """The rows of a table, controls left out, with seed 0. Errors: UserError, see `refuse_void`."""
    refuse_void([builder], setting)
    (table,) = tables_on([builder], setting, video_set)
    return [Job(table.name, row.name, row.spec, 0) for row in table.main_rows]


def have(
    jobs: Sequence[Job], rows: str, video_set: VideoSet, options: Options, console: Console
) -> bool:
    """Train those that are not finished, or whose weights are gone; whether all are there now.

    Args:
        rows: what the jobs are called together.

    Errors: UserError for what cannot be trained here.
    """
    check_machine({job.spec.recipe.batch for job in jobs}, options.device_count, 1, False)
    left = [job for job in jobs if not is_made(options.out, job)]
    if left:
        console.print(f"{len(left)} of {len(jobs)} {rows} are trained first.")
    return not left or not train(left, [video_set], options, console)
