"""Everything that only a GPU can show of the flow op, in minutes: is it right, and how fast is it?

First every kernel against golden vectors and the reference; then times of both sets of kernels at
the sizes that matter; then the tables of the benchmarks and of the run times, each as far as its
packages are installed. The checks and the times need torch and numpy alone. Written to
tables/yours/, the times to tables/yours/bench/kernels_cuda.csv.

    python experiments/gpu_check.py
    python experiments/gpu_check.py --steps checks times
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent


@dataclass(frozen=True)
class Step:
    """A command of its own process. `limit`: seconds that it may take; all together 8 minutes."""

    name: str
    command: tuple[str, ...]
    limit: int


def steps(out: Path) -> tuple[Step, ...]:
    """All of them, in order. What writes tables takes a shorter time where a run is shorter."""
    to = ("--out", str(out))
    return (
        Step("checks", ("experiments/gpu_check.py", "--only", "checks"), 140),
        Step("times", ("experiments/gpu_check.py", "--only", "times", *to), 80),
        Step("flow_cuda", ("experiments/bench_flow.py", "--device", "cuda", "--threads", "8",
                           "--minutes", "1.5", "--patience", "40", *to), 110),
        Step("training_cuda", ("experiments/bench_training.py", "--device", "cuda", "--threads",
                               "8", "--minutes", "0.6", *to), 70),
        Step("runtime", ("experiments/table_runtime.py", "--profile", "paper", "--rounds", "4",
                         *to), 80),
    )  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0, 1 where a step failed, 2 where there is no GPU."""
    names = [step.name for step in steps(Path())]
    parser = argparse.ArgumentParser(description="Check and time the flow op on a GPU.")
    parser.add_argument("--steps", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--out", type=Path, default=Path(), help="folder that gets tables/yours/")
    parser.add_argument("--only", choices=("checks", "times"), help="in this process, no others")
    options = parser.parse_args(arguments)

    import torch

    if not torch.cuda.is_available():
        print("error: there is no GPU that torch sees.", file=sys.stderr)
        return 2
    if options.only == "checks":
        return run_checks()
    if options.only == "times":
        return run_times(options.out)
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    print(f"{torch.cuda.get_device_name()}, capability {capability}, torch {torch.__version__}")
    return run_steps([step for step in steps(options.out) if step.name in options.steps])


def run_steps(chosen: Iterable[Step]) -> int:
    """Each in a process, one after the other, with what it prints; then a line for each."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    said, failed = [], False
    for step in chosen:
        print(f"\n== {step.name}", flush=True)
        begin = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, *step.command],
                env=environment,
                cwd=ROOT,
                timeout=step.limit,
                stderr=subprocess.PIPE,
                text=True,
            )
            complaint, status = done.stderr, done.returncode
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


# --- checks --------------------------------------------------------------------------------------


def run_checks() -> int:
    """Both sets of kernels' at once, for most of the time goes into compiling them."""
    from tests.ops.gpu_checks import KERNELS

    with ProcessPoolExecutor(len(KERNELS), get_context("spawn")) as processes:
        return max(processes.map(_run_checks, KERNELS))


def _run_checks(kernels: str) -> int:
    from tests.ops.gpu_checks import checks

    return count_failures(kernels, checks(kernels))


def count_failures(what: str, checks: Iterable[tuple[str, Callable[[], None]]]) -> int:
    """Run every one, whatever became of those before. Returns the status: 1 if one failed."""
    passed, failed = 0, 0
    for name, check in checks:
        try:
            check()
            passed += 1
        except Exception as error:
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{what}: {passed} checks passed, {failed} failed", flush=True)
    return int(failed > 0)


# --- times ---------------------------------------------------------------------------------------


def run_times(out: Path) -> int:
    """Milliseconds of both sets of kernels in turns, medians and quartiles, as csv."""
    from bench.kernels import measured_kernels

    text = measured_kernels(lambda line: print(line, flush=True))
    path = out / "tables" / "yours" / "bench" / "kernels_cuda.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
