"""The data benchmark: clips per second of the loader, beside decord alone on the same frames.

For every decoder, clip length and number of workers; then, for sets that fit into it, an epoch
through the memory-mapped cache against one that decodes. Writes
tables/yours/bench/data_<set>.{md,csv,png}. One to six minutes on two CPU cores that do nothing
else; the first run also renders the embedded data set.

    python experiments/bench_data.py                                  # motion_shapes, embedded
    python experiments/bench_data.py --data hmdb51 --data-root ROOT --frames 16,32 --workers 2,4,8
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from bench.command import folder_of, say
from bench.loading import Plan, decoding_by, run
from bench.loading_page import page_of
from bench.page import publish

from repflow_pl.data.decoding.decode import Decoder
from repflow_pl.data.index import default_clip, open_set
from repflow_pl.errors import UserError, unknown
from repflow_pl.options import parse
from repflow_pl.program import status_of


@dataclass(frozen=True)
class Options:
    """Time the loader of a data set beside the decoder alone."""

    data: str = "motion_shapes"
    """Data set, as of the tables."""
    data_root: Path | None = None
    """Folder of the data set; by default its place in the user's cache."""
    frames: str = "16"
    """Clip lengths, commas between."""
    workers: str = "1,2"
    """Numbers of loading processes, commas between."""
    decoders: str = "pyav,decord"
    """Decoders, commas between."""
    size: int = 112
    """Crop in pixels, from frames whose shorter side has 8/7 of that."""
    clips: int = 200
    """Clips counted in each turn, in whole batches."""
    batch: int = 8
    """Clips of a batch."""
    turns: int = 5
    """Turns, of which medians and quartiles are taken."""
    out: Path = Path()
    """Folder that gets tables/yours/bench/."""
    quick: bool = False
    """Tiny sizes, in seconds: shows that everything works, and its figures mean nothing."""


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status: 0, or 2 for a mistake."""
    return status_of(lambda: bench(parse(Options, arguments)))


def bench(options: Options) -> None:
    """Measure, then write the three files."""
    plan = plan_of(options)
    folder_of(options.out, options.quick)
    with decoding_by("decord"):  # what decord was tried on, PyAV reads as well
        video_set = open_set(options.data, options.data_root)
    results = run(video_set, plan, say)
    publish(page_of(results, plan, options.data), "bench_data.py", options)


def plan_of(options: Options) -> Plan:
    """Errors: UserError for what is not a count, for an unknown decoder, and for what is void."""
    decoders = tuple(_decoder(name) for name in dict.fromkeys(options.decoders.split(",")))
    workers = _counts("--workers", options.workers)
    clips, turns = options.clips, options.turns
    if options.quick:
        if (clips, turns) != (Options.clips, Options.turns):
            raise UserError("--quick has its own counts: leave out --clips and --turns.")
        clips, turns = 3 * options.batch, 2
    if min(options.size, clips, options.batch, turns) < 1:
        raise UserError("--size, --clips, --batch and --turns are counts of 1 or more.")
    clips = max(clips // options.batch, 1) * options.batch
    size = options.size
    clip = dataclasses.replace(
        default_clip(options.data), size=size * 8 // 7, crop=(size, size), source_crop=None,
        short="hold",
    )  # fmt: skip
    frames = _counts("--frames", options.frames)
    return Plan(clip, frames, workers, decoders, clips, options.batch, turns)


def _decoder(name: str) -> Decoder:
    if name not in get_args(Decoder):
        raise unknown("decoder", name, get_args(Decoder))
    return cast(Decoder, name)


def _counts(option: str, text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{option} takes counts of 1 or more with commas between, not {text!r}.")
    return tuple(map(int, parts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
