"""Under torchrun the first process makes the tables, and the others train its runs with it.

    torchrun --nnodes 2 --nproc-per-node 8 ... experiments/table_placement.py

The first process tells the others each run that it begins by the store that torchrun has set up for
them; all else (tables, results, which run is next) is its own affair.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from uuid import uuid4

import torch
from rich.console import Console
from torch import distributed
from torch.distributed import PrefixStore, Store, TCPStore

from repflow_pl.errors import UserError
from repflow_pl.launching.order import Order, from_json, to_json, videos_of
from repflow_pl.launching.outcome import MISTAKE
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.planning.ranks import is_main_process, world
from repflow_pl.training.run import run

END, THROUGH = "end", "through"
"""Said by the first process when it ends; counted by the others, once for each run and process."""
PATIENCE = 120.0
"""Seconds in which the first process, where a run failed there too, has begun another one."""
LEAVING = 60.0
"""Seconds in which the others, where a run ended there too, are through with it."""
POLL = 0.5
"""Seconds between two looks for the next run."""


class Leader:
    """The first process's side. It counts the runs, as the others do.

    Errors: UserError where a run is to begin and others still are in the one before: it failed here
    alone, and they wait in it for this process, until torchrun ends them with it.
    """

    def __init__(self) -> None:
        self.store = _store()
        self.begun = 0

    def begin(self, order: Order) -> None:
        """The others are to train this run too."""
        here, machines = world()
        deadline = time.monotonic() + LEAVING
        while self.store.add(THROUGH, 0) < self.begun * (here * machines - 1):
            if time.monotonic() > deadline:
                raise UserError(
                    "torchrun: the last run ended in the first process alone, and the others still "
                    "wait in it; the same command goes on, by itself with torchrun --max-restarts."
                )
            time.sleep(POLL / 10)
        self._say(to_json(order))

    def end(self, status: int) -> None:
        """There is no further run: the others end, with the same status. The agent of a machine
        where all ended well would wait for one where not all did."""
        with suppress(RuntimeError):  # where torchrun itself was ended, nobody is there to listen
            self._say(f"{END} {status}")

    def _say(self, text: str) -> None:
        self.store.set(str(self.begun), text)
        self.begun += 1


@cache
def leader() -> Leader:
    """This process's, which is the first."""
    return Leader()


def together(work: Callable[[], int]) -> int:
    """Have the first process do its work, and the others train along; returns the exit status."""
    if not is_main_process():
        return follow()
    status = MISTAKE
    try:
        status = work()
    finally:
        leader().end(status)
    return status


def follow() -> int:
    """Train along with the first process until it ends; returns its exit status.

    A run that fails in every process is the first one's to tell of. Where it failed here alone the
    others wait for this process in vain: it ends, and torchrun ends them.

    Errors: whatever a run raises here alone.
    """
    store = _store()
    failure: Exception | None = None
    number = 0
    while True:
        start = time.monotonic()
        while not store.check([str(number)]):
            if failure is not None and time.monotonic() - start > PATIENCE:
                raise failure
            time.sleep(POLL)
        said = store.get(str(number)).decode()
        if said.startswith(END):
            return int(said.removeprefix(END))
        order = from_json(said)
        here, machines = world()
        quiet = Console(quiet=True)
        machine = Machine(
            Path(order.out), here, order.wandb, quiet, machines, tensorboard=order.tensorboard
        )
        try:
            run(order.job, videos_of(order), machine, order.label, order.runs_after)
            failure = None
        except Exception as error:
            failure = error
        store.add(THROUGH, 1)
        number += 1


def _store() -> Store:
    """What all processes share, and what of it is of this attempt of torchrun's alone; they are a
    process group from then on, which Lightning takes as it is.

    The store of torchrun's agent outlives its processes, and PyTorch's own group would meet there
    what it left before a restart.
    """
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    of_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    first = rank == 0 and not of_agent
    of_all = TCPStore(*address, is_master=first, timeout=timedelta(minutes=5))
    store = PrefixStore(f"repflow/{attempt(of_all, rank, processes)}", of_all)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    group = PrefixStore("group", store)
    distributed.init_process_group(backend, store=group, rank=rank, world_size=processes)
    atexit.register(distributed.destroy_process_group)
    return store


def attempt(store: Store, rank: int, processes: int) -> str:
    """A name for this attempt that the first process finds and every other one gets to know.

    Machines count their restarts each by itself, so that is none. Others ask by names of their own,
    which an earlier attempt's did not have, and say when they were answered.
    """
    mine = uuid4().hex
    if rank > 0:
        store.set(f"asked by {rank}", mine)
        found = store.get(f"answer to {mine}").decode()
        store.set(f"{rank} has {found}", "")
        return found
    others = set(range(1, processes))
    while others:
        for other in [each for each in others if store.check([f"asked by {each}"])]:
            store.set(f"answer to {store.get(f'asked by {other}').decode()}", mine)
            if store.check([f"{other} has {mine}"]):
                others.remove(other)
        time.sleep(POLL / 10)
    return mine
