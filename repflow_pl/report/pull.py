"""Results of W&B runs that other machines made, brought into a folder of runs.

What comes is checked like any file of unknown origin, and what is there already stays.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.specs import RunSpec, spec_hash
from repflow_pl.strict import parse
from repflow_pl.training.lock import BusyError, held
from repflow_pl.training.result import FILES, RunResult, read_result
from repflow_pl.training.tracking import RESULT, is_logged_in, result_name


@dataclass(frozen=True)
class Pulled:
    """What became of one result."""

    name: str
    state: Literal["new", "there", "refused"]
    why: str = ""
    """One sentence, where it was refused."""

    def __str__(self) -> str:
        said = {"new": "brought", "there": "is there already", "refused": f"refused: {self.why}"}
        return f"{self.name} {said[self.state]}"


def open_api() -> Any:
    """W&B's public interface. Errors: UserError where nobody is logged in."""
    if not is_logged_in():
        raise UserError("nobody is logged in to W&B here: run `wandb login`, then this again.")
    import wandb

    return wandb.Api()


def pull(api: Any, project: str, runs: Path) -> Iterator[Pulled]:
    """Bring the results of a project's finished runs to runs/<hash>/seed<k>/, one by one.

    Errors: UserError where the project cannot be read.
    """
    for artifact in _results(api, project):
        name = artifact.name.partition(":")[0]  # without its version
        try:
            state = _take(artifact, name, runs)
        except (UserError, ValueError) as error:
            yield Pulled(name, "refused", " ".join(str(error).split()))
        except BusyError:
            yield Pulled(name, "refused", "this run is being made here just now.")
        else:
            yield Pulled(name, state)


def _results(api: Any, project: str) -> Iterator[Any]:
    import wandb

    try:
        for run in api.runs(project):
            if run.state == "finished":
                yield from (each for each in run.logged_artifacts() if each.type == RESULT)
    except (wandb.Error, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the W&B project {project} cannot be read ({reason}): "
            "give it as ENTITY/PROJECT, and see that you may read it."
        ) from error


def _take(artifact: Any, name: str, runs: Path) -> Literal["new", "there"]:
    """Check a result and put it into its place.

    Errors: ValueError or UserError where it will not do; BusyError where its run is being made.
    """
    content = _download(artifact)
    result = parse(RunResult, json.loads(content["result.json"]))
    found = spec_hash(parse(RunSpec, json.loads(content["spec.json"])))
    if found != result.spec:
        raise ValueError(f"its spec has the hash {found}, but its result is of {result.spec}.")
    if name != result_name(result.spec, result.seed):
        raise ValueError(f"its result is of {result.spec}, seed {result.seed}.")
    folder = runs / result.spec / f"seed{result.seed}"
    with held(folder):
        there = folder / "result.json"
        if there.exists():
            if read_result(there) != result:
                raise ValueError(f"it differs from {there}, which is kept.")
            return "there"
        for file in reversed(FILES):  # the result last: with it the run is finished
            with atomic_write(folder / file, "wb") as stream:
                stream.write(content[file])
    return "new"


def _download(artifact: Any) -> dict[str, bytes]:
    """The two files that a result has; whatever else an artifact may hold is left where it is.

    Errors: ValueError where it lacks one.
    """
    with tempfile.TemporaryDirectory(prefix="repflow-") as folder:
        try:
            paths = {name: artifact.get_entry(name).download(root=folder) for name in FILES}
        except KeyError as error:
            raise ValueError(f"it has not got {' and '.join(FILES)}.") from error
        return {name: Path(path).read_bytes() for name, path in paths.items()}
