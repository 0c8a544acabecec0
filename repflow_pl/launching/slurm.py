"""What a run's job asks of a Slurm cluster. Imports no trainer."""

from __future__ import annotations

from dataclasses import dataclass

from repflow_pl.errors import UserError

NO_GPU = "none"


@dataclass(frozen=True)
class Slurm:
    """A job of a run; what sbatch knows beyond this is set by its variables, as SBATCH_QOS."""

    partition: str | None = None
    """Partition; by default the cluster's."""
    account: str | None = None
    """Account that is charged; by default yours."""
    minutes: int = 720
    """Time limit of a job. A run that takes longer is queued again and goes on from where
    it was."""
    cpus: int = 8
    """CPU cores for each GPU."""
    mem: str | None = None
    """Memory of a job, for instance 64GB; by default the partition's."""
    gpu: str = "gpu"
    """What the cluster calls its GPUs, for instance gpu:a100; none: runs are made without."""

    def __post_init__(self) -> None:
        if min(self.minutes, self.cpus) < 1:
            raise UserError("--slurm.minutes and --slurm.cpus are counts of 1 or more.")
