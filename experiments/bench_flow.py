"""The flow op's benchmark: time and memory against the released way of writing Alg. 1.

Eager, torch.compile, the fused backend of the device and OpenCV's TV-L1, timed in turns with a
plain baseline (bench/baseline.py) at the sizes of blocks 0 to 5 and over the iterations. Writes
tables/yours/bench/flow_<device>.{md,csv,png}. Three minutes on two CPU cores that do nothing else.

    python experiments/bench_flow.py
    python experiments/bench_flow.py --device cuda --patience 300 --minutes 10
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.command import chosen_device, folder_of, say
from bench.flow_page import page_of
from bench.page import publish
from bench.plan import build_plan
from bench.run import run

from repflow_pl.errors import UserError
from repflow_pl.options import parse
from repflow_pl.program import status_of


@dataclass(frozen=True)
class Options:
    """Time the flow op against the released way of writing it, with its memory and its floor."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    threads: int = 2
    """CPU threads of every backend."""
    minutes: float = 2.6
    """About how long; cells that do not fit are left empty and say so."""
    patience: float = 50
    """Seconds that torch.compile may take in all; 20 unrolled iterations alone need minutes."""
    out: Path = Path()
    """Folder that gets tables/yours/bench/."""
    quick: bool = False
    """Tiny sizes, in seconds: shows that everything works, and its figures mean nothing."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UserError("--threads is a count of 1 or more.")
        if self.minutes <= 0 or self.patience <= 0:
            raise UserError("--minutes and --patience must be more than 0.")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status: 0, or 2 for a mistake."""
    return status_of(lambda: bench(parse(Options, arguments)))


def bench(options: Options) -> None:
    """Measure, then write the three files."""
    device = chosen_device(options.device)
    folder_of(options.out, options.quick)
    plan = build_plan(device, options.quick)
    results = run(plan, device, options.threads, options.minutes, options.patience, say)
    publish(page_of(results, device, options.threads), "bench_flow.py", options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
