"""A run as the task of a cluster's job: it only starts the run's worker. Imports no trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repflow_pl.ending import LIMIT
from repflow_pl.launching.order import Order, share_of_cores, write_order
from repflow_pl.launching.outcome import BUSY, DONE, FAILED, MISTAKE, how_it_ended

POLL = 0.5
"""Seconds between two looks at the worker."""
LATE = 1.0
"""Seconds in which a signal that ended the worker reaches this process too."""


@dataclass
class Task:
    """What submitit calls in a job, and again in a new one after a time-out or a preemption.

    The worker is a process of its own, so that no signal handler is at work in the trainer and
    its loaders.
    """

    order: Order
    cpus: int
    """Cores for each device."""
    worker: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __call__(self) -> int:
        """Make the run; returns the worker's status.

        Errors: SystemExit where something ended the worker; submitit then notes no result, so that
        the job may still be queued again by the cluster.
        """
        with tempfile.TemporaryDirectory(prefix="repflow-") as folder:
            path = Path(folder) / "order.json"
            write_order(path, self.order)
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "repflow_pl.launching.worker", str(path)],
                env={**os.environ, **share_of_cores(self.cpus, self.order.devices)},
                stdin=subprocess.PIPE,  # ends when this process does, however that ends
                start_new_session=True,
            )
            # Not wait(): it would keep a signal's handler from looking at the process.
            while (status := self.worker.poll()) is None:
                time.sleep(POLL)
            if status in (DONE, FAILED, MISTAKE, BUSY):
                return status
            print(f"the run's process {how_it_ended(status)}", file=sys.stderr, flush=True)
            time.sleep(LATE)
            sys.exit(1)

    def checkpoint(self) -> Any:
        """Called by submitit before the job is taken away: end the worker, which saves the step
        under way, and say what to call in the next job."""
        from submitit.helpers import DelayedSubmission

        if self.worker is not None:
            self.worker.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + LIMIT
            while time.monotonic() < deadline and self.worker.poll() is None:
                time.sleep(0.1)
            with suppress(ProcessLookupError):  # what it may have started and left behind
                os.killpg(self.worker.pid, signal.SIGKILL)
        return DelayedSubmission(Task(self.order, self.cpus))
