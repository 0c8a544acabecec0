"""Everything that only a GPU can show of the flow op, in minutes: is it right, and how fast is it?

First every kernel against golden vectors and the reference; then times of both sets of kernels at
the sizes that matter; then the tables of the benchmarks and of the run times, each as far as its
packages are installed. The checks and the times need torch and numpy alone. Written to
tables/yours/, the times to tables/yours/bench/kernels_cuda.csv.

    python experiments/gpu_check.py
    python experiments/gpu_check.py --step checks
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]  # where the package is not installed

from repflow_pl.ending import descendants  # noqa: E402
from repflow_pl.errors import UserError  # noqa: E402
from repflow_pl.program import status_of  # noqa: E402


@dataclass(frozen=True)
class Options:
    """Check the flow op on a GPU and time it, in eight minutes; tables go to tables/yours/."""

    step: Literal["all", "checks", "times", "flow_cuda", "training_cuda", "runtime"] = "all"
    """One step alone."""
    out: Path = Path()
    """Folder that gets tables/yours/."""


@dataclass(frozen=True)
class Step:
    """A command of its own process. `limit`: seconds that it may take; all together 8 minutes."""

    name: str
    command: tuple[str, ...]
    limit: int


def steps(out: Path) -> tuple[Step, ...]:
    """All of them, in order."""
    to = ("--out", str(out))
    return (
        Step("checks", ("-m", "bench.gpu", "checks"), 140),
        Step("times", ("-m", "bench.gpu", "times", str(out)), 80),
        Step("flow_cuda", ("experiments/bench_flow.py", "--device", "cuda", "--threads", "8",
                           "--minutes", "1.5", "--patience", "40", *to), 110),
        Step("training_cuda", ("experiments/bench_training.py", "--device", "cuda", "--threads",
                               "8", "--minutes", "0.6", *to), 70),
        Step("runtime", ("experiments/table_runtime.py", "--profile", "paper", "--rounds", "4",
                         *to), 80),
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0, 1 where a step failed, 2 for a mistake or without a GPU."""
    return status_of(lambda: check(arguments))


def check(arguments: Sequence[str]) -> int:
    """All of it. Errors: UserError."""
    options = Options()
    if arguments:  # its packages are not everywhere where the checks can run
        from repflow_pl.options import parse

        options = parse(Options, arguments)

    import torch

    if not torch.cuda.is_available():
        raise UserError("there is no GPU here that torch sees.")
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    print(f"{torch.cuda.get_device_name()}, capability {capability}, torch {torch.__version__}")
    chosen = [step for step in steps(options.out.resolve()) if options.step in ("all", step.name)]
    return run_steps(chosen)


def run_steps(chosen: Iterable[Step]) -> int:
    """Each in a process, one after the other, with what it prints; then a line for each."""
    paths = [str(ROOT), str(ROOT / "experiments"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    said, failed = [], False
    for step in chosen:
        print(f"\n== {step.name}", flush=True)
        begin = time.monotonic()
        try:
            status, complaint = _run(step, environment)
        except subprocess.TimeoutExpired:
            complaint, status = f"it took longer than {step.limit} s", 1
        took = f"{time.monotonic() - begin:.0f} s"
        last = next(iter(complaint.strip().splitlines()[-1:]), "")
        if status == 0:
            said.append(f"{step.name}: done, {took}")
        elif last.startswith("ModuleNotFoundError"):
            said.append(f"{step.name}: left out, {last.removeprefix('ModuleNotFoundError: ')}")
        else:
            print(complaint, file=sys.stderr)
            said.append(f"{step.name}: FAILED, {took}: {last}")
            failed = True
    print("\n" + "\n".join(said))
    return int(failed)


def _run(step: Step, environment: dict[str, str]) -> tuple[int, str]:
    """Its status and standard error. Whatever it started ends with it, where a signal or its limit
    ends it: else a benchmark's own processes would go on beside the steps that follow."""
    with subprocess.Popen(
        [sys.executable, *step.command],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            complaint = process.communicate(timeout=step.limit)[1]
        except BaseException:
            for pid in (*descendants(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise
    return process.returncode, complaint


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
