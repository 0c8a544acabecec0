"""The command line that every table's script shares: run what is missing, write the table."""

from __future__ import annotations

import dataclasses
import errno
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, set_parsing_settings
from rich.console import Console

from repflow_pl.data.decode import VARIABLE as DECODER_VARIABLE
from repflow_pl.data.index import VideoSet, fold_count, open_set
from repflow_pl.data.metadata import metadata_baseline
from repflow_pl.errors import UserError, unknown
from repflow_pl.files import check_writable
from repflow_pl.profiles import Profile, ProfileName, build_profile
from repflow_pl.report.join import join
from repflow_pl.report.table import Context, MetadataBaseline, Row, Table, render
from repflow_pl.specs import DataSpec, spec_hash
from repflow_pl.training.jobs import Job, is_finished, is_main_process, ordered

TableBuilder = Callable[[Profile, DataSpec], Table]

UNSHOWN = ("data_root", "out", "devices", "wandb", "list", "decoder")
"""Options that do not change the table, or name folders of the user."""
INTERRUPTED = 130
"""Exit status of a program ended by Ctrl-C."""


@dataclass(frozen=True)
class Options:
    """Train and measure what a table misses, then write tables/<data>/<table>.{md,csv,png}."""

    rows: str = "all"
    """Rows to run, by name, with commas between; see --list."""
    seeds: int = 1
    """How many seeds for each row: 0 to SEEDS - 1."""
    data: str = "motion_shapes"
    """Data set: motion_shapes (embedded), ut_interaction, hmdb51, ucf101, kinetics400,
    tiny_kinetics, or folder."""
    split: Literal["1", "2", "3", "all"] = "1"
    """Official split of hmdb51 and ucf101; all: every split is trained and their average shown."""
    low_res: bool = False
    """The paper's low-resolution clips: frames halved, then a crop of 112 x 112."""
    decoder: Literal["auto", "decord", "pyav"] = "auto"
    """auto: decord, or pyav where decord is not installed. Both give the same frames."""
    data_root: Path | None = None
    profile: ProfileName = "demo"
    """demo: a narrow backbone, minutes on two CPU cores; paper: its backbone, clip and recipe."""
    backbone: str | None = None
    """Another backbone than the profile's: narrow, resnet18, resnet34 or resnet50."""
    devices: int = 1
    """GPUs, or CPU processes where there is no GPU, for each run; the recipe stays the same."""
    wandb: Literal["offline", "online", "disabled"] | None = None
    """Where curves and pictures go; by default online if you are logged in to W&B, else offline."""
    out: Path = Path()
    """Folder that gets runs/, wandb/ and tables/."""
    list: bool = False

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.devices < 1:
            raise UserError("--seeds and --devices are counts of 1 or more.")


def main(build: TableBuilder, arguments: Sequence[str] | None = None) -> int:
    """Run a table's script; returns the exit status: 0, 1 where a run failed, 2 for a mistake."""
    console = Console(soft_wrap=True, highlight=False, quiet=not is_main_process())
    try:
        options = parse(arguments)
        command = shown_command(Path(sys.argv[0]), options)
        return run_table(build, options, command, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        message = "interrupted: run the same command again and it goes on where it stopped."
        print(message, file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        place = f" {error.filename}" if error.filename else ""
        print(
            f"error: cannot write{place}: {error.strerror}; free some space or choose another "
            "place with --out, then run the same command again: finished work is kept.",
            file=sys.stderr,
        )
        return 2


def parse(arguments: Sequence[str] | None) -> Options:
    """The command line as Options. Errors: UserError, one sentence; --help exits by itself."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(description=Options.__doc__, exit_on_error=False)
    parser.add_class_arguments(Options, as_group=False, skip={"data_root", "low_res", "list"})
    parser.add_argument(
        "--data-root",
        type=Path | None,
        help="Folder of the data set; by default its place in the user's cache.",
    )
    parser.add_argument(
        "--low-res",
        action="store_true",
        help="The paper's low-resolution clips: frames halved, then a crop of 112 x 112.",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="Show the rows, which runs are done and what is left; run nothing.",
    )
    try:
        parsed = parser.parse_args(arguments)
    except (UserError, SystemExit):
        raise
    except Exception as error:
        raise UserError(f"{' '.join(str(error).split())}; see --help.") from error
    return Options(**parsed.as_dict())


def run_table(build: TableBuilder, options: Options, command: str, console: Console) -> int:
    """Open the data, run what is missing of the chosen rows, write the table and its page."""
    profile = build_profile(options.profile, options.data, options.backbone, options.low_res)
    check_writable(options.out / "runs")
    if options.decoder != "auto":
        os.environ[DECODER_VARIABLE] = options.decoder  # for the processes that decode as well
    video_sets = [open_set(options.data, options.data_root, fold=k) for k in splits_of(options)]
    tables = [
        build(profile, DataSpec(opened.name, profile.clip, opened.fingerprint, opened.fold))
        for opened in video_sets
    ]
    table = average_of(tables)
    chosen = [choose_rows(each, options.rows) for each in tables]
    jobs_of = [
        ordered(
            Job(each.name, row.name, row.spec, seed)
            for seed in range(options.seeds)
            for row in rows
        )
        for each, rows in zip(tables, chosen, strict=True)
    ]
    jobs = [job for split in jobs_of for job in split]
    if options.list:
        show_list(console, table, options)
        return 0
    failures = 0
    left = [job for job in jobs if not is_finished(options.out, job)]
    if left:
        console.print(
            f"{len(jobs) - len(left)} of {len(jobs)} runs are done, {len(left)} are left."
        )
        for video_set, split in zip(video_sets, jobs_of, strict=True):
            if len(video_sets) > 1:
                console.print(f"split {video_set.fold} of {len(video_sets)}")
            todo = [job for job in split if not is_finished(options.out, job)]
            failures += _train(todo, video_set, options, console) if todo else 0
    if not is_main_process():
        return 0
    files = render(
        table,
        context_of(video_sets, options, command),
        options.out / "runs",
        seeds_found(table, options),
        options.out / "tables",
    )
    join(options.out / "tables")
    console.print(files.markdown.read_text(), markup=False)
    console.print(f"wrote {files.markdown}, {files.csv.name} and {files.png.name}", markup=False)
    return 1 if failures else 0


def splits_of(options: Options) -> list[int]:
    """The official splits that are asked for."""
    count = fold_count(options.data)
    return list(range(1, count + 1)) if options.split == "all" else [int(options.split)]


def average_of(tables: Sequence[Table]) -> Table:
    """One table whose rows stand for the same rows of all `tables`, one for each split."""
    first, *others = tables
    rows = tuple(
        dataclasses.replace(row, other_splits=tuple(other.rows[k].spec for other in others))
        for k, row in enumerate(first.rows)
    )
    return dataclasses.replace(first, rows=rows)


def _train(left: Sequence[Job], video_set: VideoSet, options: Options, console: Console) -> int:
    """Run the jobs; returns how many failed."""
    # Only here is a trainer needed; a finished table is written without importing one.
    from repflow_pl.training.run import Machine
    from repflow_pl.training.sweep import check, prepare, sweep, wandb_mode

    check(left, video_set)
    prepare(left, video_set)
    machine = Machine(
        out=options.out,
        devices=options.devices,
        wandb=options.wandb or wandb_mode(),
        console=console,
    )
    failures = sweep(left, video_set, machine)
    for failed in failures:
        console.print(
            f"FAILED {failed.job.row}, seed {failed.job.seed}: {failed.reason} (see {failed.log})",
            markup=False,
        )
    return len(failures)


def choose_rows(table: Table, rows: str) -> tuple[Row, ...]:
    """The table's rows of these names, separated by commas; letters' case does not matter."""
    if rows == "all":
        return table.rows
    by_name = {row.name.lower(): row for row in table.rows}
    chosen = []
    for name in rows.split(","):
        if name.strip().lower() not in by_name:
            raise unknown("row", name.strip(), [row.name for row in table.rows])
        chosen.append(by_name[name.strip().lower()])
    return tuple(chosen)


def show_list(console: Console, table: Table, options: Options) -> None:
    """A line a row: its name, its run's folder, and which seeds are done."""
    for row in table.rows:
        done = [
            all(
                is_finished(options.out, Job(table.name, row.name, spec, seed))
                for spec in (row.spec, *row.other_splits)
            )
            for seed in range(options.seeds)
        ]
        state = "done" if all(done) else f"{sum(done)} of {len(done)} seeds done"
        console.print(f"{row.name:32} runs/{spec_hash(row.spec)}  {state}", markup=False)


def seeds_found(table: Table, options: Options) -> list[int]:
    """The seeds asked for and those that earlier calls finished: no result is left out."""
    seeds = set(range(options.seeds))
    for row in table.rows:
        for path in (options.out / "runs" / spec_hash(row.spec)).glob("seed*/result.json"):
            seeds.add(int(path.parent.name.removeprefix("seed")))
    return sorted(seeds)


def context_of(video_sets: Sequence[VideoSet], options: Options, command: str) -> Context:
    """What the table says about the data beside the runs' own figures.

    The bounds are those of the first split.
    """
    video_set = video_sets[0]
    baseline = metadata_baseline(video_set)
    ceiling = None
    notes: tuple[str, ...] = ()
    data = video_set.name
    if len(video_sets) > 1:
        notes = (
            f"Every figure is the average of the {len(video_sets)} official splits; counts of "
            "videos are sums over them, speed and the bounds are those of split 1.",
        )
    elif fold_count(data) > 1:
        notes = (f"Official split {video_set.fold} of {fold_count(data)}.",)
        data = f"{data}_split{video_set.fold}"
    if options.low_res:
        data = f"{data}_lowres"
    if video_set.name == "motion_shapes":
        from repflow_pl.data.motion_shapes import DIRECTIONS

        ceiling = 1 / len(DIRECTIONS)
        notes += (
            "Shuffled frames still show the line along which a shape moves, but not which way: "
            f"they allow at most {2 * ceiling:.0%}.",
        )
    return Context(
        data=data,
        profile=options.profile,
        command=command,
        chance=baseline.chance,
        metadata=MetadataBaseline(baseline.accuracy_mean, baseline.half_width, baseline.chance),
        ceiling=ceiling,
        notes=notes,
    )


def shown_command(script: Path, options: Options) -> str:
    """The command that makes the same table; folders of the user are not shown."""
    parts = ["python", f"{script.parent.name}/{script.name}"]
    for name, default in vars(Options()).items():
        value = getattr(options, name)
        if value != default and name not in UNSHOWN:
            parts.append(f"--{name.replace('_', '-')}")
            if value is not True:
                parts.append(str(value))
    return shlex.join(parts)
