"""W&B: what is logged of runs and tables. Nothing of the machine or its user, and nothing of it is
needed to render a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repflow_pl.errors import UserError
from repflow_pl.extras import is_installed
from repflow_pl.specs import spec_hash, to_dict
from repflow_pl.training.following.wandb_client import (
    ask,
    client,
    finish,
    is_logged_in,
    spared,
    start,
    usable,
)
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.planning.machine import WandbMode
from repflow_pl.training.planning.ranks import is_main_process
from repflow_pl.training.recording.result import EXTRAS, FILES

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

PROJECT = "repflow"
RESULT, TABLE, DATA = "result", "table", "data"
"""Types of artifacts."""
FACTS = "facts.json"
"""The file of an artifact of a data set's facts."""


def wandb_mode(asked: WandbMode | None) -> WandbMode:
    """The mode asked for, by default online where the user is logged in to W&B, else offline,
    and disabled where it is not installed.

    Where W&B does not answer, online is offline, which is said on standard error.
    """
    if asked is None and not is_installed("wandb"):
        return "disabled"
    mode = usable(asked or "online")
    if mode != "online":
        return mode
    with spared():
        if is_logged_in():
            ask()
        elif asked:
            raise UserError("nobody is logged in to W&B here: run `wandb login`")
        else:
            return "offline"
    return usable(mode)


def result_name(spec: str, seed: int) -> str:
    """Of a result's artifact, by the hash of its spec."""
    return f"{RESULT}-{spec}-seed{seed}"


@contextmanager
def tracked(job: Job, out: Path, mode: WandbMode) -> Iterator[WandbLogger | None]:
    """A W&B run named by spec and seed, so that a resumed run goes on in the same place.

    It ends with the block, as failed where that ends in an error. None where there is to be none.
    """
    if mode == "disabled" or not is_main_process():
        yield None
        return
    from repflow_pl.training.following.wandb_logger import SparingLogger

    name = f"{spec_hash(job.spec)}-seed{job.seed}"
    run = start(
        mode,
        out,
        name,
        project=PROJECT,
        name=f"{job.row} · seed {job.seed}",
        group=job.table,
        job_type=job.row,
        config={**to_dict(job.spec), "seed": job.seed},
    )
    try:
        yield SparingLogger(experiment=run)
    except BaseException:
        finish(run, exit_code=1)
        raise
    finish(run)


def log_result(logger: WandbLogger, folder: Path, spec: str, seed: int) -> None:
    """Keep a finished run's result and spec, and its curve and predictions, as its artifact."""
    files = {name: folder / name for name in (*FILES, *EXTRAS) if (folder / name).is_file()}
    with spared():
        logger.experiment.log_artifact(_artifact(result_name(spec, seed), RESULT, files))


def log_table(
    name: str,
    setting: str,
    files: Sequence[Path],
    facts: Sequence[Path],
    out: Path,
    mode: WandbMode,
) -> None:
    """Keep a rendered table and its plot as an artifact, a new version each time.

    With it the facts of its data set, each file as an artifact named after it: whoever pulls the
    results can then write the tables without the videos. `setting` is the table's folder, which
    names data, profile and backbone.
    """
    if mode == "disabled":
        return
    # W&B refuses others, as the plus of learn tau + theta
    label = re.sub(r"[^\w.-]", "_", f"{TABLE}-{setting}-{name}")
    title = f"{name} · {setting}"
    run = start(mode, out, label, project=PROJECT, name=title, group=name, job_type=TABLE)
    with spared():
        run.log_artifact(_artifact(label, TABLE, {path.name: path for path in files}))
        for path in facts:
            run.log_artifact(_artifact(f"{DATA}-{path.stem}", DATA, {FACTS: path}))
    finish(run)


def _artifact(name: str, kind: str, files: Mapping[str, Path]) -> Any:
    artifact = client().Artifact(name, type=kind)
    for file, path in files.items():
        artifact.add_file(str(path), name=file)
    return artifact
