"""All that another process must know to make a run. Imports no trainer."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.data.decode import Decoder, choose_decoder
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.strict import parse
from repflow_pl.training.jobs import Job
from repflow_pl.training.machine import WandbMode


@dataclass(frozen=True)
class Order:
    """All that a worker must know. It names folders of the user, so it is no part of a result."""

    job: Job
    data: str
    data_root: str
    decoder: Decoder
    out: str
    devices: int
    wandb: WandbMode
    label: str
    runs_after: int


def to_json(order: Order) -> str:
    """The order in one line."""
    return json.dumps(dataclasses.asdict(order))


def from_json(text: str) -> Order:
    """Read an order strictly. Errors: ValueError for anything else."""
    return parse(Order, json.loads(text))


def write_order(path: Path, order: Order) -> None:
    """Write an order's file."""
    with atomic_write(path) as stream:
        stream.write(to_json(order))


def read_order(path: Path) -> Order:
    """Read an order's file strictly. Errors: ValueError for anything else."""
    return from_json(path.read_text(encoding="utf-8"))


def videos_of(order: Order) -> VideoSet:
    """The videos that an order was given for, decoded here as there from now on.

    Errors: UserError where they have changed since.
    """
    choose_decoder(order.decoder)
    video_set = open_set(order.data, Path(order.data_root), fold=order.job.spec.data.split)
    if video_set.fingerprint != order.job.spec.data.fingerprint:
        raise UserError(
            f"{order.data}: the videos under {order.data_root} have changed since the sweep began: "
            "run the same command again."
        )
    return video_set


def share_of_cores(threads: int, processes: int) -> dict[str, str]:
    """The environment that tells PyTorch, numba, and joblib and the loaders their share of the
    cores: `threads` for each process of a run. A smaller $OMP_NUM_THREADS of the user's is kept."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return {
        "OMP_NUM_THREADS": str(min(threads, int(wanted)) if wanted.isdigit() else threads),
        "NUMBA_NUM_THREADS": str(threads),
        "LOKY_MAX_CPU_COUNT": str(threads * processes),
    }
