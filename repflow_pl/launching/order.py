"""All that another process must know to make a run. Imports no trainer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.data.decoding.decode import Decoder, choose_decoder, chosen_decoder
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.errors import UserError
from repflow_pl.strict import parse
from repflow_pl.training.following.wandb_client import usable
from repflow_pl.training.planning.jobs import Job, label_of
from repflow_pl.training.planning.machine import Machine, WandbMode


@dataclass(frozen=True)
class Order:
    """A run to be made. It names folders of the user, so it is no part of a result."""

    job: Job
    number: int
    """From 1, of all the runs."""
    label: str
    runs_after: int
    data: str
    data_root: str
    decoder: Decoder
    out: str
    devices: int
    wandb: WandbMode
    tensorboard: bool = False


def set_of(job: Job, video_sets: Sequence[VideoSet]) -> VideoSet:
    """Of a data set's splits, the one that a run is of."""
    return next(each for each in video_sets if each.fold == job.spec.data.split)


def order_of(
    job: Job, jobs: Sequence[Job], video_sets: Sequence[VideoSet], machine: Machine, runs_after: int
) -> Order:
    """The order to make one of the jobs as it would be made here."""
    number, video_set = jobs.index(job) + 1, set_of(job, video_sets)
    return Order(
        job,
        number,
        label_of(job, number, jobs),
        runs_after,
        video_set.name,
        str(video_set.root.absolute()),
        chosen_decoder(),
        str(machine.out.absolute()),
        machine.devices,
        usable(machine.wandb),
        machine.tensorboard,
    )


def to_json(order: Order) -> str:
    """The order in one line."""
    return json.dumps(dataclasses.asdict(order))


def from_json(text: str) -> Order:
    """Read an order strictly. Errors: ValueError for anything else."""
    return parse(Order, json.loads(text))


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
