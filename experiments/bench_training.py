"""The training benchmark: clips per second of RGB, RGB + flow after block 3, and Flow-Conv-Flow.

Training and evaluation, the flow layer's share of a step, the wait for data and peak memory; the
networks are timed in turns. On a GPU at the paper's setting (ResNet-34, 16 x 112 x 112, batch 24),
on a CPU at the demo's. Writes
tables/yours/bench/training_<device>.{md,csv,png}. A minute on two CPU
cores that do nothing else; the first run also renders the embedded data set.

    python experiments/bench_training.py
    python experiments/bench_training.py --device cuda
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.command import chosen_device, folder_of, say
from bench.page import publish
from bench.training import Results, Setting, run
from bench.training_page import page_of

from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.errors import UserError
from repflow_pl.options import parse
from repflow_pl.profiles import build_profile
from repflow_pl.program import status_of

DATA = "motion_shapes"


@dataclass(frozen=True)
class Options:
    """Time training with and without the flow layer, and what it waits for and takes."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    threads: int = 2
    """CPU threads."""
    minutes: float = 3
    """At most about how long, beside the rendering of the data set."""
    out: Path = Path()
    """Folder that gets tables/yours/bench/."""
    quick: bool = False
    """Tiny sizes, in seconds: shows that everything works, and its figures mean nothing."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UserError("--threads is a count of 1 or more.")
        if self.minutes <= 0:
            raise UserError("--minutes must be more than 0.")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status: 0, or 2 for a mistake."""
    return status_of(lambda: bench(parse(Options, arguments), open_set(DATA)))


def bench(options: Options, video_set: VideoSet) -> Results:
    """Measure, then write the three files."""
    setting = setting_of(options)
    folder_of(options.out, options.quick)
    minutes = options.minutes / 20 if options.quick else options.minutes
    results = run(setting, video_set, minutes, say)
    publish(page_of(results, setting), "bench_training.py", options)
    return results


def setting_of(options: Options) -> Setting:
    """The paper's setting on a GPU, the demo's on a CPU, and a tiny one for a quick run.

    Errors: UserError where a GPU is asked for and there is none.
    """
    device = chosen_device(options.device)
    profile = build_profile("paper" if device.type == "cuda" else "demo", DATA)
    clip, batch = profile.clip, profile.recipe.batch
    if options.quick:
        clip = dataclasses.replace(clip, frames=4, size=32, crop=(32, 32))
        batch = 2
    return Setting(profile, clip, batch, device, options.threads)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
