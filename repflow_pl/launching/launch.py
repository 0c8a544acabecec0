"""Who makes the runs: this process, others beside it, jobs of a cluster, or all of torchrun's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from repflow_pl.data.index import VideoSet
from repflow_pl.launching.arrays import run_arrays, slurm_executor
from repflow_pl.launching.make import check, prepare, sweep
from repflow_pl.launching.outcome import Failed
from repflow_pl.launching.processes import share_out, spread
from repflow_pl.launching.slurm import Slurm
from repflow_pl.launching.torchrun import leader
from repflow_pl.training.jobs import Job, under_torchrun
from repflow_pl.training.machine import Machine
from repflow_pl.training.ranks import world


def launch(
    jobs: Sequence[Job],
    video_set: VideoSet,
    machine: Machine,
    devices: int | None,
    slurm: Slurm | None,
) -> list[Failed]:
    """Make every run, on `machine.devices` each; returns those that failed.

    `devices`: of all runs together. `slurm`: as jobs of a cluster. What cannot be on this machine
    was refused by `check_machine`.

    Errors: UserError for what cannot be made here or at all; KeyboardInterrupt on Ctrl-C.
    """
    if under_torchrun():
        here, machines = world()
        _check_and_prepare(jobs, video_set)
        together = dataclasses.replace(machine, devices=here, machines=machines)
        return sweep(jobs, video_set, together, leader().begin)
    if slurm is not None:
        at_once = devices // machine.devices if devices else None
        executor = slurm_executor(machine.out, slurm, machine.devices, at_once)
        _check_and_prepare(jobs, video_set)
        return run_arrays(jobs, video_set, machine, executor, slurm.cpus)
    slots = share_out(devices, machine.devices)
    _check_and_prepare(jobs, video_set)
    if (devices or machine.devices) == 1:
        return sweep(jobs, video_set, machine)
    return spread(jobs, video_set, machine, slots)


def _check_and_prepare(jobs: Sequence[Job], video_set: VideoSet) -> None:
    check(jobs, video_set)
    prepare(jobs, video_set)
