"""What gpu_check.py needs torch and numpy alone for.

python -m bench.gpu checks
python -m bench.gpu times OUT    # to OUT/tables/yours/bench/kernels_cuda.csv
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path


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


def run_times(out: Path) -> int:
    """Milliseconds of both sets of kernels in turns, medians and quartiles."""
    from bench.kernels import measured_kernels

    text = measured_kernels(partial(print, flush=True))
    path = out / "tables" / "yours" / "bench" / "kernels_cuda.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(run_checks() if sys.argv[1] == "checks" else run_times(Path(sys.argv[2])))
