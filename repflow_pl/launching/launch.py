"""Where the runs are made: in this process, beside it, on a cluster, or by all of torchrun's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from repflow_pl.data.fields.tvl1 import check_installed
from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import check_batch
from repflow_pl.data.streams import open_streams
from repflow_pl.data.views import check_clip, nothing
from repflow_pl.errors import Lacking, UserError
from repflow_pl.launching.arrays import Arrays, Slurm, slurm_executor
from repflow_pl.launching.make import Here
from repflow_pl.launching.order import set_of
from repflow_pl.launching.outcome import Failed
from repflow_pl.launching.pool import Place, make_all
from repflow_pl.launching.processes import Processes, share_out
from repflow_pl.launching.torchrun import leader
from repflow_pl.layers.flow import FlowIteration
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.models.build import build_model
from repflow_pl.specs import (
    ClipSpec,
    DataStream,
    LateSpec,
    ModelSpec,
    streams_of,
    training_streams_of,
)
from repflow_pl.training.planning.jobs import Job, is_joined_from_answers
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.planning.ranks import under_torchrun, world


def launch(
    jobs: Sequence[Job],
    video_sets: Sequence[VideoSet],
    machine: Machine,
    devices: int | None = None,
    slurm: Slurm | None = None,
) -> list[Failed]:
    """Make every run, on `machine.devices` each; returns those that failed.

    `video_sets`: the splits that the runs are of. `devices`: of all runs together. `slurm`: as jobs
    of a cluster. What cannot be on this machine was refused by `check_machine`.

    Errors: UserError for what cannot be made here or at all; KeyboardInterrupt on Ctrl-C.
    """
    place: Place
    if under_torchrun():
        here, machines = world()
        machine = replace(machine, devices=here, machines=machines)
        place = Here(video_sets, machine, leader().begin)
    elif slurm is not None:
        at_once = devices // machine.devices if devices else None
        executor = slurm_executor(machine.out, slurm, machine.devices, at_once)
        place = Arrays(machine, executor, slurm.cpus)
    elif (devices or machine.devices) == 1:
        place = Here(video_sets, machine)
    else:
        place = Processes(share_out(devices, machine.devices, len(jobs)))
    by_set = [(each, [j for j in jobs if set_of(j, video_sets) is each]) for each in video_sets]
    for video_set, of_it in by_set:
        check(of_it, video_set)
    for video_set, of_it in by_set:
        prepare(of_it, video_set, machine.out)
    return make_all(jobs, video_sets, machine, place)


def check(jobs: Sequence[Job], video_set: VideoSet) -> None:
    """Refuse what no run could be made of, before the first one starts.

    Errors: UserError for an unknown backbone, block or flow parameter, for a network whose clips
    are too short or too small, for videos shorter than a clip, for fewer of them than a batch has,
    for a set of one class, and where TV-L1 is needed and not installed.
    """
    if len(video_set.classes) < 2:
        raise UserError(
            f"{video_set.name}: all videos are of one class, {video_set.classes[0]!r}, so there is "
            "nothing to tell apart: give the others a folder of their own."
        )
    for model, clip, batch in dict.fromkeys(
        (job.spec.model, job.spec.data.clip, job.spec.recipe.batch) for job in jobs
    ):
        streams = training_streams_of(model)
        if {"tvl1", "tvl1_twice"} & set(streams):
            check_installed()
        check_batch(video_set, batch)
        check_clip(video_set, clip, streams)
        row = next(j.row for j in jobs if (j.spec.model, j.spec.data.clip) == (model, clip))
        _check_network(row, model, clip, len(video_set.classes))


def _check_network(row: str, spec: ModelSpec | LateSpec, clip: ClipSpec, classes: int) -> None:
    """Have a network without values take such a clip. Errors: UserError where it does not."""
    try:
        with torch.device("meta"), torch.no_grad():
            model = build_model(spec, classes).eval()
            for layer in model.modules():
                if isinstance(layer, FlowIteration | TVNet):
                    layer.n_iter = min(1, layer.n_iter)  # more change no shape and take their time
            model(*(nothing(stream, clip)[None].float() for stream in streams_of(spec)))
    except UserError as error:
        raise UserError(f"{row}: {error} To leave the row out, name others with --rows.") from error


def prepare(jobs: Sequence[Job], video_set: VideoSet, out: Path) -> None:
    """Decode, and make the fields that runs need, once and before any training.

    A run that is joined from answers needs none. What some runs need and is not here is left to
    them to fail by.
    """
    looking = [job.spec for job in jobs if not is_joined_from_answers(out, job)]
    wanted: dict[ClipSpec, dict[DataStream, None]] = {}
    for spec in looking:
        streams = wanted.setdefault(spec.data.clip, {})
        streams.update(dict.fromkeys(training_streams_of(spec.model)))
    for clip, streams in wanted.items():
        # Frames and motion vectors first, and together, whichever runs need them: of one decoding.
        parts = [[stream for stream in streams if stream in ("rgb", "vectors")]]
        for part in parts + [[stream] for stream in streams]:
            with suppress(Lacking):
                open_streams(video_set, clip, part)
