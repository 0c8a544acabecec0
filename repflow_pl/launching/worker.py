"""Runs in a process beside others: `python -m repflow_pl.launching.worker ORDER`, in JSON.

Started for runs that are made side by side, and in each job of a cluster; Lightning starts the same
command again for each further GPU of a run. With `--more` the process takes further orders, one a
line of its standard input, since it has imported by then what a run needs seconds for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from repflow_pl.ending import ended_by_signals
from repflow_pl.errors import INTERRUPTED, UserError
from repflow_pl.launching.order import Order, from_json, to_json, videos_of
from repflow_pl.launching.outcome import BUSY, DONE, MISTAKE

ENDED = "\x04"
"""Begins the line in which a process that takes further orders says how a run ended."""


def start(
    order: Order,
    environment: Mapping[str, str],
    stdout: int | None = None,
    stderr: IO[bytes] | None = None,
    more: bool = False,
) -> subprocess.Popen[str]:
    """Start a process that makes the run; it ends with a status of `outcome`, or takes `more`."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "repflow_pl.launching.worker", to_json(order)),
            *(["--more"] if more else []),
        ],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,  # further orders; ends when this process does, however that ends
        stdout=stdout,
        stderr=stderr,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # a terminal's Ctrl-C goes to this process alone
    )


def end(processes: Sequence[subprocess.Popen[str]], patience: float) -> None:
    """Have them save the steps under way, for so many seconds at most, and end them.

    They are asked again and again: Python drops a signal now and then that meets a finaliser.
    """
    try:
        again = time.monotonic()
        deadline = again + patience
        while (now := time.monotonic()) < deadline:
            here = [process for process in processes if process.poll() is None]
            if not here:
                break
            if now >= again:
                for process in here:
                    process.send_signal(signal.SIGTERM)
                again += patience / 4
            time.sleep(0.05)
    finally:
        for process in processes:
            kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """End it and all that it started, also what it left behind when it ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def share_of_cores(threads: int, processes: int) -> dict[str, str]:
    """The environment that tells PyTorch, numba, and joblib and the loaders their share of the
    cores: `threads` for each process of a run. A smaller $OMP_NUM_THREADS of the user's is kept."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return {
        "OMP_NUM_THREADS": str(min(threads, int(wanted)) if wanted.isdigit() else threads),
        "NUMBA_NUM_THREADS": str(threads),
        "LOKY_MAX_CPU_COUNT": str(threads * processes),
    }


def main(order: str, more: bool = False) -> int:
    """Make the run of an order, and of further ones; returns a status of `outcome`.

    None is taken after a failure, of which the process may keep something, as CUDA's errors.
    """
    # A shell's background jobs would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ended_by_signals():
            orders: SimpleQueue[str] = SimpleQueue()
            threading.Thread(target=_listen, args=(orders,), daemon=True).start()
            while (status := _make(from_json(order))) in (DONE, BUSY) and more:
                print(f"{ENDED}{status}", flush=True)
                order = orders.get()
            return status
    except (KeyboardInterrupt, BrokenPipeError):  # nobody reads the lines: the parent has ended
        return INTERRUPTED
    except UserError as error:
        print(error, file=sys.stderr)
        return MISTAKE


def _make(order: Order) -> int:
    # To import a trainer takes seconds, in which the parent may end; other videos need none.
    videos = videos_of(order)

    from rich.console import Console

    from repflow_pl.launching.make import make
    from repflow_pl.training.planning.machine import Machine
    from repflow_pl.training.planning.ranks import is_main_process

    quiet = not is_main_process()
    console = Console(soft_wrap=True, highlight=False, markup=False, quiet=quiet)
    machine = Machine(
        Path(order.out), order.devices, order.wandb, console, tensorboard=order.tensorboard
    )
    return make(order, videos, machine)


def _listen(orders: SimpleQueue[str]) -> None:
    """Standard input is a pipe, which ends when the parent does."""
    with open(sys.stdin.fileno(), encoding="utf-8", closefd=False) as lines:
        for line in lines:
            orders.put(line)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], more="--more" in sys.argv[2:]))
