"""One run in a process of its own: `python -m repflow_pl.launching.worker ORDER`, an order's file.

Started by `repflow_pl.launching.processes` for each run that is made at the same time, and by
`repflow_pl.launching.task` in a job of a cluster; Lightning starts the same command again for each
further GPU of a run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from repflow_pl.ending import ended_by_signals
from repflow_pl.errors import INTERRUPTED, UserError
from repflow_pl.launching.outcome import BUSY, DONE, FAILED, MISTAKE
from repflow_pl.training.lock import BusyError


def main(path: Path) -> int:
    """Make the run of an order; returns a status of `outcome`."""
    # A shell's background jobs would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ended_by_signals():
            threading.Thread(target=_end_with_parent, daemon=True).start()
            return _make(path)
    except BusyError:
        return BUSY
    except (KeyboardInterrupt, BrokenPipeError):  # nobody reads the lines: the parent has ended
        return INTERRUPTED
    except UserError as error:
        print(error, file=sys.stderr)
        return MISTAKE


def _make(path: Path) -> int:
    # To import a trainer takes seconds, in which the parent may end.
    from rich.console import Console

    from repflow_pl.launching.make import make
    from repflow_pl.launching.order import read_order, videos_of
    from repflow_pl.training.jobs import is_main_process
    from repflow_pl.training.machine import Machine

    order = read_order(path)
    video_set = videos_of(order)
    console = Console(soft_wrap=True, highlight=False, quiet=not is_main_process())
    machine = Machine(Path(order.out), order.devices, order.wandb, console)
    failed = make(order.job, video_set, machine, order.label, order.runs_after)
    return FAILED if failed else DONE


def _end_with_parent() -> None:
    """Standard input is a pipe that nothing is written to: it ends when the parent does."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
