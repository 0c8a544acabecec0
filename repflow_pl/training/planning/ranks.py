"""How many processes and GPUs make the runs; what cannot be is refused. Imports no trainer."""

from __future__ import annotations

import os
from collections.abc import Collection

from repflow_pl.data.share import check_ranks
from repflow_pl.errors import UserError


def under_torchrun() -> bool:
    """Whether torchrun started this process; it may have others, here and on other machines."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main_process() -> bool:
    """False in the processes that torchrun, or Lightning, starts beside the first, with the same
    command."""
    return os.environ.get("RANK" if under_torchrun() else "LOCAL_RANK", "0") == "0"


def check_machine(
    batches: Collection[int], devices: int | None, per_run: int, elsewhere: bool
) -> None:
    """Refuse what runs with these batches cannot be made on.

    `devices`: of all runs together, if that was said; `elsewhere`: as jobs of a cluster.

    Errors: UserError.
    """
    if not under_torchrun():
        check_ranks(batches, per_run)
        if not elsewhere:
            chosen_gpus(devices, per_run)
        return
    if devices is not None or per_run > 1 or elsewhere:
        raise UserError(
            "torchrun says how many processes make a run: leave out --devices, --gpus-per-run "
            "and --launcher."
        )
    here, machines = world()
    check_ranks(batches, here * machines)


def world() -> tuple[int, int]:
    """How many processes of torchrun there are on each machine, and how many machines.

    Errors: UserError where the machines do not have equally many.
    """
    size, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if size != here * int(os.environ["GROUP_WORLD_SIZE"]):
        raise UserError("torchrun: start as many processes on each machine (--nproc-per-node).")
    return here, int(os.environ["GROUP_WORLD_SIZE"])


def all_devices(per_run: int) -> int:
    """How many there are of which each run takes `per_run`: GPUs, or else cores."""
    import joblib
    import torch

    here = torch.cuda.device_count() or joblib.cpu_count()
    return max(per_run, here - here % per_run)


def chosen_gpus(devices: int | None, per_run: int) -> list[str]:
    """The GPUs for all runs together, as $CUDA_VISIBLE_DEVICES names them; none where there are
    none.

    Errors: UserError where there are fewer.
    """
    wanted = devices or per_run
    if wanted == 1:
        return []  # whichever torch takes
    import torch

    gpus = [str(gpu) for gpu in range(torch.cuda.device_count())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus and visible:
        gpus = [gpu.strip() for gpu in visible.split(",")][: len(gpus)]
    if gpus and len(gpus) < wanted:
        option = "--gpus-per-run" if devices is None else "--devices"
        there = "there is 1 GPU" if len(gpus) == 1 else f"there are {len(gpus)} GPUs"
        raise UserError(f"{option} {wanted}: {there}; name as many or fewer.")
    return gpus[:wanted]
