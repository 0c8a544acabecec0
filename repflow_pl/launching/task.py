"""A run as the task of a cluster's job: it only starts the run's worker. Imports no trainer."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from repflow_pl.ending import LIMIT
from repflow_pl.launching.order import Order
from repflow_pl.launching.outcome import BUSY, DONE, FAILED, MISTAKE, how_it_ended
from repflow_pl.launching.worker import end, share_of_cores, start

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
    worker: subprocess.Popen[str] | None = field(default=None, init=False)

    def __call__(self) -> int:
        """Make the run; returns the worker's status.

        Errors: SystemExit where something ended the worker; submitit then notes no result, so that
        the job may still be queued again by the cluster.
        """
        self.worker = start(self.order, share_of_cores(self.cpus, self.order.devices))
        # Not wait(): it would keep a signal's handler from looking at the process.
        while (status := self.worker.poll()) is None:
            time.sleep(POLL)
        if status in (DONE, FAILED, MISTAKE, BUSY):
            return status
        print(how_it_ended(status), file=sys.stderr, flush=True)
        time.sleep(LATE)
        sys.exit(1)

    def checkpoint(self) -> Any:
        """Called by submitit before the job is taken away: end the worker, which saves the step
        under way, and say what to call in the next job."""
        from submitit.helpers import DelayedSubmission

        if self.worker is not None:
            end([self.worker], LIMIT)
        return DelayedSubmission(Task(self.order, self.cpus))
