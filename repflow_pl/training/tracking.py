"""W&B: what is logged of runs and tables. Nothing of the machine or its user, and nothing of it is
needed to render a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repflow_pl.specs import spec_hash, to_dict
from repflow_pl.training.jobs import Job
from repflow_pl.training.machine import WandbMode
from repflow_pl.training.ranks import is_main_process
from repflow_pl.training.result import EXTRAS, FILES

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger

PROJECT = "repflow"
RESULT, TABLE, DATA = "result", "table", "data"
"""Types of artifacts."""
FACTS = "facts.json"
"""The file of an artifact of a data set's facts."""


def wandb_mode() -> WandbMode:
    """Online where the user is logged in to W&B, else offline."""
    return "online" if is_logged_in() else "offline"


def is_logged_in() -> bool:
    """Whether W&B has a key of the user's; nobody is asked for one."""
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


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
    from lightning.pytorch.loggers import WandbLogger

    name = f"{spec_hash(job.spec)}-seed{job.seed}"
    config = {**to_dict(job.spec), "seed": job.seed}
    run = _start(
        out,
        mode,
        name,
        f"{job.row} · seed {job.seed}",
        group=job.table,
        kind=job.row,
        config=config,
    )
    try:
        yield WandbLogger(experiment=run)
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def log_result(logger: WandbLogger, folder: Path, spec: str, seed: int) -> None:
    """Keep a finished run's result and spec, and its curve and predictions, as its artifact."""
    files = {name: folder / name for name in (*FILES, *EXTRAS) if (folder / name).is_file()}
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
    label = f"{TABLE}-{setting}-{name}"
    run = _start(out, mode, label, f"{name} · {setting}", group=name, kind=TABLE, config={})
    run.log_artifact(_artifact(label, TABLE, {path.name: path for path in files}))
    for path in facts:
        run.log_artifact(_artifact(f"{DATA}-{path.stem}", DATA, {FACTS: path}))
    run.finish()


def _artifact(name: str, kind: str, files: Mapping[str, Path]) -> Any:
    import wandb

    artifact = wandb.Artifact(name, type=kind)
    for file, path in files.items():
        artifact.add_file(str(path), name=file)
    return artifact


def _start(
    out: Path,
    mode: WandbMode,
    identity: str,
    name: str,
    group: str,
    kind: str,
    config: dict[str, Any],
) -> Any:
    import wandb

    return wandb.init(
        project=PROJECT,
        dir=out,
        mode=mode,
        id=identity,
        resume="allow" if mode == "online" else None,
        name=name,
        group=group,
        job_type=kind,
        config=config,
        # Only the run's numbers leave the program: no console, code, packages, machine or path.
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            host="",
        ),
    )
