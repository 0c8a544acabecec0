"""The command line that the tables' scripts share: run what is missing, write the tables."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from repflow_pl.extras import needs

with needs("train", program=True, signals=True):
    from jsonargparse import ArgumentParser
    from rich.console import Console

    from repflow_pl.data.decoding.decode import Decoder, choose_decoder
    from repflow_pl.data.index import VideoSet, known_set, open_set
    from repflow_pl.data.upkeep.facts import DataFacts, facts_of, facts_path
    from repflow_pl.ending import die_with_parent
    from repflow_pl.errors import UserError
    from repflow_pl.files import check_writable
    from repflow_pl.launching.arrays import Slurm
    from repflow_pl.options import add_options, new_parser, read, take
    from repflow_pl.program import GO_ON, status_of
    from repflow_pl.report.choose import Numbered, choose_rows
    from repflow_pl.report.join import join_yours
    from repflow_pl.report.page import YOURS, Rendered
    from repflow_pl.report.table import Table
    from repflow_pl.specs import spec_hash
    from repflow_pl.tables import (
        Setting,
        TableBuilder,
        averages,
        kept_tables,
        refuse_void,
        split_tables,
        tables_on,
        write_table,
    )
    from repflow_pl.training.planning.jobs import Job, has_result, left_to_do, ordered
    from repflow_pl.training.planning.ranks import (
        all_devices,
        check_machine,
        is_main_process,
        under_torchrun,
    )

OWN_RUNS = Path("<OUT>/runs")
"""Stands for the folder of results that --from-results means without a name; is nobody's own."""


@dataclass(frozen=True)
class Options:
    """Train and measure what a table misses, then write
    tables/yours/<data>/<table>.{md,csv,png}."""

    setting: Setting = field(default_factory=Setting)
    rows: str = "all"
    seeds: int = 1
    """How many seeds for each row: 0 to SEEDS - 1."""
    decoder: Decoder | None = None
    """What reads videos, all to the same frames; by default $REPFLOW_DECODER or, without it,
    pyav."""
    data_root: Path | None = None
    """Folder of the data set; by default its place in the user's cache."""
    devices: int | Literal["auto"] | None = None
    """GPUs, or CPU processes where there is no GPU: as many runs are made side by side. auto: all
    GPUs, or a process for each core. By default one run at a time; with --launcher slurm as many as
    the cluster can."""
    gpus_per_run: int = 1
    """How many of the devices train a run together; the recipe stays the same."""
    launcher: Literal["local", "slurm"] = "local"
    """slurm: each run is a job of a cluster; this command waits for them. See --slurm.*."""
    slurm: Slurm = field(default_factory=Slurm)
    wandb: Literal["offline", "online", "disabled"] | None = None
    """Where curves and pictures go; by default online if you are logged in to W&B, else offline,
    and nowhere where it is not installed."""
    tensorboard: bool = False
    """Also write curves and pictures as TensorBoard's event files, to OUT/tensorboard/."""
    out: Path = Path()
    """Folder that gets runs/, wandb/ and tables/yours/. Tables are in tables/yours/<data>/; the
    paper profile and another backbone have folders of their own, <data>-<profile>-<backbone>/."""
    list: bool = False
    """Show the rows, which runs are done and what is left; run nothing."""
    from_results: Path | None = None

    def __post_init__(self) -> None:
        devices = self.devices if isinstance(self.devices, int) else self.gpus_per_run
        if min(self.seeds, devices, self.gpus_per_run) < 1:
            raise UserError("--seeds, --devices and --gpus-per-run are counts of 1 or more.")
        if self.gpus_per_run > devices:
            raise UserError(
                f"--gpus-per-run {self.gpus_per_run} are more than --devices {self.devices}; "
                "name as many devices or more."
            )
        if devices % self.gpus_per_run:
            fewer = devices - devices % self.gpus_per_run
            raise UserError(
                f"--devices {devices} leaves some idle with --gpus-per-run {self.gpus_per_run}; "
                f"name {fewer} or {fewer + self.gpus_per_run} devices."
            )
        if self.launcher == "local" and self.slurm != Slurm():
            raise UserError("--slurm.* are of a cluster's jobs: name --launcher slurm too.")

    @property
    def device_count(self) -> int | None:
        """`devices`, counted where they are all; None where that was not said, or the cluster's."""
        if self.devices != "auto":
            return self.devices
        return None if self.launcher == "slurm" else all_devices(self.gpus_per_run)


def main(*builders: TableBuilder, arguments: Sequence[str] | None = None) -> int:
    """Run the script of a table or of several: 0, 1 where a run failed, 2 for a mistake."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    return trained(lambda: run_tables(builders, parse(arguments), console))


def trained(work: Callable[[], int]) -> int:
    """The status of a program that trains, by itself or as one of torchrun's ranks."""
    return status_of(
        lambda: _as_rank(work) if under_torchrun() else work(),
        interrupted=GO_ON if is_main_process() else "",
        full="free some space or choose another place with --out, then run the same command "
        "again: finished work is kept",
    )


def _as_rank(work: Callable[[], int]) -> int:
    from repflow_pl.launching.torchrun import together

    die_with_parent(signal.SIGTERM)
    return together(work)


def new_table_parser() -> ArgumentParser:
    """The parser of `parse`."""
    parser = new_parser(Options.__doc__)
    parser.add_argument(
        "--rows",
        action="append",
        help="Rows to run, with commas between or as several --rows: names, parts of a name that "
        "no other has, or numbers; see --list. By default all.",
    )
    add_options(parser, Setting)
    add_options(parser, Options, skip={"setting", "rows", "from_results"})
    parser.add_argument(
        "--from-results",
        nargs="?",
        type=Path | None,
        const=OWN_RUNS,
        metavar="FOLDER",
        help="Write the tables from the results in FOLDER alone; nothing is run and no video is "
        "needed. FOLDER is OUT/runs if not named; the published results are in tables/runs. By "
        "default what is missing is run.",
    )
    return parser


def parse(arguments: Sequence[str] | None) -> Options:
    """The command line as Options. Errors: UserError, one sentence; --help exits by itself."""
    given = read(new_table_parser(), arguments).as_dict()
    given["setting"] = take(Setting, given)
    rows = given["rows"] or "all"  # in a file they may be a list, a name or a number
    given["rows"] = ",".join(map(str, rows)) if isinstance(rows, list) else str(rows)
    options: Options = take(Options, given)
    if options.from_results == OWN_RUNS:
        options = dataclasses.replace(options, from_results=options.out / "runs")
    return options


def run_tables(builders: Sequence[TableBuilder], options: Options, console: Console) -> int:
    """Run what is missing of the chosen rows of all tables, then write them and their page."""
    setting = options.setting
    refuse_void(builders, setting)
    if options.from_results is not None:
        facts, tables = kept_tables(builders, setting, options.from_results)
        if options.list:
            show_list(
                console, choose_rows(tables, options.rows), options.seeds, options.from_results
            )
        else:
            _write(tables, facts, options.from_results, options, console)
        return 0
    if options.wandb in ("offline", "online"):
        needs("wandb")
    if options.tensorboard:
        needs("tensorboard")
    runs = options.out / "runs"
    check_writable(runs)
    if options.decoder is not None:
        choose_decoder(options.decoder)
    if options.list:
        _list(builders, options, console)
        return 0
    asked = jobs_for(split_tables(builders, setting, fingerprint=""), options)
    batches = {job.spec.recipe.batch for job in asked}
    on_cluster = options.launcher == "slurm"
    check_machine(batches, options.device_count, options.gpus_per_run, on_cluster)
    video_sets = [open_set(setting.data, options.data_root, fold=k) for k in setting.splits]
    by_split = [tables_on(builders, setting, opened) for opened in video_sets]
    tables = averages(by_split)
    jobs = [job for split in by_split for job in jobs_for(split, options)]
    facts = [facts_of(video_set, runs) for video_set in video_sets]  # results need them to be shown
    failures = 0
    left = left_to_do(options.out, jobs)
    if left:
        done = len(jobs) - len(left)
        console.print(f"{done} of {len(jobs)} runs are done, {len(left)} are left.")
        failures = train(left, video_sets, options, console)
    written = _write(tables, facts, runs, options, console)
    if left:
        _log(tables, written, facts, options)
    return 1 if failures else 0


def jobs_for(tables: Sequence[Table], options: Options) -> list[Job]:
    """The runs behind the chosen rows, each once."""
    return ordered(
        Job(table.name, row.name, row.spec, seed)
        for seed in range(options.seeds)
        for _, table, row in choose_rows(tables, options.rows)
    )


def _write(
    tables: Sequence[Table],
    facts: Sequence[DataFacts],
    runs: Path,
    options: Options,
    console: Console,
) -> list[Rendered]:
    """Write the tables and their page; say so, and show a single table."""
    setting = options.setting
    out, own = options.out / YOURS, runs == options.out / "runs"
    written = []
    for table in tables:
        files = write_table(table, facts, setting, runs, options.seeds, out, replace=own)
        if len(tables) == 1:
            console.print(files.markdown.read_text(encoding="utf-8"))
        console.print(files.said)
        written.append(files)
    console.print(f"wrote {join_yours(options.out)}")
    return written


def _log(
    tables: Sequence[Table],
    written: Sequence[Rendered],
    facts: Sequence[DataFacts],
    options: Options,
) -> None:
    """Hand the tables to W&B, if it takes them: they are written already."""
    from repflow_pl.training.following.tracking import log_table, wandb_mode

    mode = wandb_mode(options.wandb)
    setting = options.setting.plain().folder(facts[0].fingerprint)
    kept = [facts_path(options.out / "runs", each.name, each.fingerprint) for each in facts]
    for table, files in zip(tables, written, strict=True):
        paths = sorted(files.markdown.parent.glob(f"{table.name}[._]*"))  # and those beside it
        log_table(table.name, setting, paths, kept, options.out, mode)


def train(
    left: Sequence[Job], video_sets: Sequence[VideoSet], options: Options, console: Console
) -> int:
    """Run the jobs, which are of these splits; returns how many failed."""
    # Only here is a trainer needed; a finished table is written without importing one.
    from repflow_pl.launching.launch import launch
    from repflow_pl.training.following.tracking import wandb_mode
    from repflow_pl.training.planning.machine import Machine

    machine = Machine(
        out=options.out,
        devices=options.gpus_per_run,
        wandb=wandb_mode(options.wandb),
        console=console,
        tensorboard=options.tensorboard,
    )
    slurm = options.slurm if options.launcher == "slurm" else None
    failures = launch(left, video_sets, machine, options.device_count, slurm)
    for failed in failures:
        console.print(
            f"FAILED {failed.job.row}, seed {failed.job.seed}: {failed.reason} (see {failed.log})"
        )
    return len(failures)


def _list(builders: Sequence[TableBuilder], options: Options, console: Console) -> None:
    """Show the rows; no video is decoded for it, so a run's name may not be known yet."""
    setting = options.setting
    opened = [known_set(setting.data, options.data_root, fold) for fold in setting.splits]
    known = [video_set for video_set in opened if video_set is not None]
    if len(known) == len(opened):
        tables = averages([tables_on(builders, setting, each) for each in known])
        show_list(console, choose_rows(tables, options.rows), options.seeds, options.out / "runs")
        return
    tables = split_tables(builders, setting, fingerprint="")
    show_list(console, choose_rows(tables, options.rows), options.seeds, None)
    console.print(
        "Which runs are done is not known before the videos are checked, as the first run does."
    )


def show_list(console: Console, rows: Sequence[Numbered], seeds: int, runs: Path | None) -> None:
    """A line a row: its number and name, its run's folder, and which seeds are done.

    `runs`: None where the runs' names are not known.
    """
    tables = list(dict.fromkeys(table.name for _, table, _ in rows))
    for name in tables:
        shown = [each for each in rows if each[1].name == name]
        if len(tables) > 1:
            console.print(f"{name}: {shown[0][1].title}")
        for number, _, row in shown:
            if runs is None:
                console.print(f"{number:3} {row.name}")
                continue
            splits = (row.spec, *row.other_splits)
            done = [all(has_result(runs, spec, seed) for spec in splits) for seed in range(seeds)]
            state = "done" if all(done) else f"{sum(done)} of {len(done)} seeds done"
            console.print(f"{number:3} {row.name:32} runs/{spec_hash(row.spec)}  {state}")
