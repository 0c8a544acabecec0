"""One run in a process of its own: `python -m repflow_pl.training.worker ORDER`, an order's file.

Started by `repflow_pl.training.spread`, one for each run that is made at the same time; Lightning
starts the same command again for each further GPU of a run.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from repflow_pl.data.index import open_set
from repflow_pl.errors import UserError, terminate
from repflow_pl.files import atomic_write
from repflow_pl.strict import parse
from repflow_pl.training.jobs import Job, is_main_process
from repflow_pl.training.lock import BusyError
from repflow_pl.training.run import Machine
from repflow_pl.training.sweep import make
from repflow_pl.training.tracking import WandbMode

DONE, FAILED, MISTAKE, BUSY, INTERRUPTED = 0, 1, 2, 75, 130
"""Exit status: made; failed, as error.txt says; cannot be made, as the last line says; another
process has the folder; ended by a signal, to be gone on with."""
GRACE = 20.0
"""Seconds to end in after a signal, before the process is killed."""


@dataclass(frozen=True)
class Order:
    """All that a worker must know. It names folders of the user, so it is no part of a result."""

    job: Job
    data: str
    data_root: str
    out: str
    devices: int
    wandb: WandbMode
    label: str
    runs_after: int


def write_order(path: Path, order: Order) -> None:
    """Write an order as JSON."""
    with atomic_write(path) as stream:
        json.dump(dataclasses.asdict(order), stream)


def read_order(path: Path) -> Order:
    """Read an order strictly. Errors: ValueError for anything else."""
    return parse(Order, json.loads(path.read_text(encoding="utf-8")))


def main(path: Path) -> int:
    """Make the run of an order; returns one of the statuses above."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return _make(read_order(path))
    except BusyError:
        return BUSY
    except (KeyboardInterrupt, BrokenPipeError):  # nobody reads the lines: the parent has ended
        return INTERRUPTED
    except UserError as error:
        print(error, file=sys.stderr)
        return MISTAKE


def _make(order: Order) -> int:
    video_set = open_set(order.data, Path(order.data_root), fold=order.job.spec.data.split)
    if video_set.fingerprint != order.job.spec.data.fingerprint:
        raise UserError(
            f"{order.data}: the videos under {order.data_root} have changed since the sweep began: "
            "run the same command again."
        )
    console = Console(soft_wrap=True, highlight=False, quiet=not is_main_process())
    machine = Machine(Path(order.out), order.devices, order.wandb, console)
    failed = make(order.job, video_set, machine, order.label, order.runs_after)
    return FAILED if failed else DONE


def _end_with_parent() -> None:
    """Standard input is a pipe that nothing is written to: it ends when the parent does."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
