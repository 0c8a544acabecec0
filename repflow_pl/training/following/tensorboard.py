"""TensorBoard: a run's curves and pictures as event files below OUT, for who asks for them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger

from repflow_pl.specs import spec_hash, to_dict
from repflow_pl.training.planning.jobs import Job

FOLDER = "tensorboard"


def event_folder(out: Path, job: Job) -> Path:
    """`OUT/tensorboard/<table>/<row>-seed<k>-<spec hash>`: told apart by name where all are shown;
    a resumed run goes on in the same place."""
    row = re.sub(r"[^\w.+-]+", "_", job.row)
    return out / FOLDER / job.table / f"{row}-seed{job.seed}-{spec_hash(job.spec)}"


def event_logger(out: Path, job: Job) -> TensorBoardLogger:
    """A logger into the run's folder, with its spec as a text. Only the main process writes."""
    folder = event_folder(out, job)
    logger = TensorBoardLogger(folder.parent, name="", version=folder.name)
    spec = json.dumps(to_dict(job.spec), indent=1)
    logger.experiment.add_text("spec", f"```\n{spec}\n```")
    return logger
