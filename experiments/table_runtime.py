"""Run times: ms per clip of every row of a table, TV-L1 included.

Piergiovanni and Ryoo (CVPR 2019) print the time of a clip beside each row of their comparison. Here
every row's network is built untrained and times one clip of the test part, all rows in turns. Any
other table's page shows such times in the place of those that its runs took by themselves.

    python experiments/table_runtime.py                    # embedded data, about a minute
    python experiments/table_runtime.py --data folder --data-root VIDEOS --profile paper
    python experiments/table_runtime.py --table placement  # the rows of table_placement.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from all_tables import builder, table_names
from bench.command import shown_command

from repflow_pl.data.index import open_set
from repflow_pl.errors import UserError, unknown
from repflow_pl.files import check_writable
from repflow_pl.options import parse
from repflow_pl.program import status_of
from repflow_pl.report.page import YOURS, Rendered
from repflow_pl.specs import streams_of
from repflow_pl.tables import NOT_TIMED, Setting, refuse_void, split_tables

PAPERS = "sota"
"""The table whose rows have times in the paper."""
OTHER_FIELDS = (
    "Motion vectors: what is made of them, on one core, once the file is decoded, which is no part "
    "of any row's time.",
    "RAFT: torchvision's small network, freshly initialised, on the GPU where there is one.",
)
SKIP = NOT_TIMED
"""What is no option here."""
SAY_EVERY = 10.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Options:
    """Time one clip in every row of a table, then write tables/yours/<data>/runtime.{md,csv,png},
    of a GPU runtime_<its name>. Nothing is trained."""

    setting: Setting = field(default_factory=Setting)
    data_root: Path | None = None
    """Folder of the data set; by default its place in the user's cache."""
    rounds: int = 50
    """How often every row is timed, after three rounds of warm-up."""
    out: Path = Path()
    """Folder that gets tables/yours/."""
    table: str = PAPERS
    """Whose rows, by its script's name; but for the state of the art's they are written to
    runtime_<table>.*."""

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise UserError("--rounds is a count of 2 or more: one time has no spread.")
        if self.table not in table_names():
            raise unknown("table", self.table, table_names())


def main(arguments: Sequence[str]) -> int:
    """Measure and write; returns the exit status: 0, or 2 for a mistake."""
    return status_of(lambda: show(measure(parse(Options, arguments, skip=SKIP))))


def show(files: Rendered) -> None:
    """The page, and where it is."""
    print(files.markdown.read_text(encoding="utf-8"))
    print(files.said)


def measure(options: Options) -> Rendered:
    """Time the rows of a table, write the three files and the page of all tables."""
    # Half of its lines are the facts that the page states, each beside the value it is taken from.
    out = options.out / YOURS
    check_writable(out)
    setting = options.setting.plain()
    refuse_void([builder(options.table)], setting)
    video_set = open_set(setting.data, options.data_root, fold=setting.splits[0])
    (table,) = split_tables([builder(options.table)], setting, video_set.fingerprint)
    rows = table.main_rows
    clip = rows[0].spec.data.clip
    other = [row.name for row in rows if row.spec.data.clip != clip]
    if other:
        raise UserError(f"{other[0]!r} has clips of its own, which are not timed beside others.")

    # Only now is it worth the seconds that torch and a trainer's modules take to import.
    import torch
    from bench.page import device_name

    from repflow_pl.data.fields.tvl1 import TVL1Options
    from repflow_pl.data.views import one_clip
    from repflow_pl.report.join import join_yours
    from repflow_pl.report.paper import paper_figures
    from repflow_pl.report.runtime import RuntimeContext, render_runtime, runtime_rows
    from repflow_pl.specs import DataStream
    from repflow_pl.training.costs.clip_times import time_models
    from repflow_pl.training.costs.extraction import extraction_ms
    from repflow_pl.training.costs.step_costs import step_costs
    from repflow_pl.training.recording.versions import versions

    frames = one_clip(video_set, clip)

    def make_fields(streams: Sequence[DataStream]) -> float:
        return sum(extraction_ms(streams, frames, video_set, clip, repeats=1))

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    say(f"building {len(rows)} networks, then {options.rounds} rounds after a warm-up")
    plain = setting.profile_of().rgb(rows[0].spec.data).model
    models = list(dict.fromkeys([*(row.spec.model for row in rows), plain]))
    classes, rounds = len(video_set.classes), options.rounds
    mixed = setting.precision == "bf16"
    timed = time_models(
        models, classes, frames, device, rounds, make_fields, progress(rounds), mixed
    )
    stepped = {}
    if table.to_choose:
        say("training steps, in as many rounds")
        costs = step_costs(models, classes, frames, device, rounds, progress(rounds), mixed)
        stepped = dict(zip(models, costs, strict=True))
    tvl1 = TVL1Options()
    paper = paper_figures(PAPERS) if options.table == PAPERS else None
    streams = {stream for row in rows for stream in streams_of(row.spec.model)}
    other_fields = bool(streams & {"vectors", "raft"})
    context = RuntimeContext(
        data=setting.shown_data,
        profile=setting.profile,
        folder=setting.folder(video_set.fingerprint),
        command=shown_command("table_runtime.py", options),
        device=device_name(device),
        on_gpu=device.type == "cuda",
        threads=torch.get_num_threads(),
        clip=f"{frames.shape[0]} frames of {frames.shape[1]} x {frames.shape[2]} pixels"
        + (", in bf16 mixed precision" if setting.precision == "bf16" else ""),
        one_split=setting.splits[0] if len(setting.splits) > 1 else None,
        tvl1=f"OpenCV's DualTVL1OpticalFlow on one core of the CPU, {tvl1.scales} scales, "
        f"{tvl1.warps} warp, {tvl1.outer} x {tvl1.inner} iterations, which is less work than its "
        "defaults (5 scales, 5 warps, 10 x 30), so it weighs less than with them",
        versions=versions(),
        changes=setting.changes_in_words,
        of="" if paper else options.table,
        fields="flow" if other_fields else "TV-L1",
        notes=OTHER_FIELDS if other_fields else (),
    )
    times = dict(zip(models, timed, strict=True))
    shown = [row.spec.model for row in rows]
    steps = [stepped[model] for model in (*shown, plain)] if stepped else ()
    found = runtime_rows(rows, [times[model] for model in shown], times[plain], paper, steps)
    files = render_runtime(found, context, out)
    join_yours(options.out)
    return files


def progress(rounds: int) -> Callable[[int], None]:
    """Says now and then how many rounds are done, and how long the others will take."""
    begin = said = time.monotonic()

    def tell(done: int) -> None:
        nonlocal begin, said
        now = time.monotonic()
        if done == 0:
            begin = said = now
        elif now - said > SAY_EVERY:
            said = now
            left = (now - begin) / done * (rounds - done)
            say(f"round {done} of {rounds}, about {left:.0f} s left")

    return tell


def say(text: str) -> None:
    """A line of progress; standard output is for the table."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
