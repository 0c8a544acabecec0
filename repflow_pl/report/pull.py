"""Results of W&B runs that other machines made, brought into a folder of runs.

With them come the facts of their data sets, so that tables can be written without the videos. What
comes is checked like any file of unknown origin, and what is there already stays.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from repflow_pl.data.upkeep.facts import DataFacts, facts_path, read_facts
from repflow_pl.errors import UserError
from repflow_pl.extras import needs
from repflow_pl.report.page import write
from repflow_pl.specs import RunSpec, spec_hash
from repflow_pl.strict import parse
from repflow_pl.training.following.tracking import DATA, FACTS, RESULT, result_name
from repflow_pl.training.following.wandb_client import api, close, is_logged_in
from repflow_pl.training.planning.lock import BusyError, held
from repflow_pl.training.recording.result import EXTRAS, FILES, RunResult, read_result

PATIENCE = 10.0
"""Seconds that W&B has for each answer."""


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
    """W&B's public interface. Errors: UserError without a login, and where W&B does not answer."""
    needs("wandb")
    with _answered("W&B cannot be asked", "see that it is there and that `wandb login` holds"):
        if is_logged_in():
            return api(PATIENCE)
    raise UserError("nobody is logged in to W&B here: run `wandb login`, then this again.")


def pull(api: Any, project: str, runs: Path) -> Iterator[Pulled]:
    """Bring the results of a project's finished runs to runs/<hash>/seed<k>/, one by one.

    Facts of data sets come to runs/data/.

    Errors: UserError where the project cannot be read.
    """
    for artifact in _artifacts(api, project):
        name = artifact.name.partition(":")[0]  # without its version
        take = _take_facts if artifact.type == DATA else _take_result
        try:
            state = take(artifact, name, runs)
        except ValueError as error:
            yield Pulled(name, "refused", " ".join(str(error).split()))
        except BusyError:
            yield Pulled(name, "refused", "this run is being made here just now.")
        else:
            yield Pulled(name, state)


def _artifacts(api: Any, project: str) -> Iterator[Any]:
    with _answered(
        f"the W&B project {project} cannot be read",
        "give it as ENTITY/PROJECT, and see that you may read it",
    ):
        for run in api.runs(project):
            if run.state == "finished":
                yield from (each for each in run.logged_artifacts() if each.type in (RESULT, DATA))


@contextmanager
def _answered(said: str, advice: str) -> Iterator[None]:
    """Errors: UserError for whatever W&B's client raises in the block, which is of many kinds."""
    try:
        yield
    except Exception as error:
        close()
        reason = " ".join(str(error).split())
        raise UserError(f"{said} ({reason}): {advice}.") from error


def _take_result(artifact: Any, name: str, runs: Path) -> Literal["new", "there"]:
    """Check a result and put it into its place.

    Errors: ValueError where it will not do; BusyError where its run is being made.
    """
    content = _download(artifact, FILES, EXTRAS)
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
        # The result last: with it the run is finished.
        for file in sorted(content, key=lambda file: file == "result.json"):
            write(folder / file, content[file])
    return "new"


def _take_facts(artifact: Any, name: str, runs: Path) -> Literal["new", "there"]:
    """Check the facts of a data set and put them into their place.

    Errors: ValueError where they will not do.
    """
    content = _download(artifact, (FACTS,))[FACTS]
    facts = parse(DataFacts, json.loads(content))
    place = facts_path(runs, facts.name, facts.fingerprint)
    if name != f"{DATA}-{place.stem}" or place.parent != runs / "data":
        raise ValueError(f"its facts are of {facts.name}, {facts.fingerprint}.")
    if place.exists():
        known = read_facts(place)
        # The names of the classes follow from the fingerprint; older facts lack them.
        if replace(known, classes=facts.classes) != facts:
            raise ValueError(f"they differ from {place}, which is kept.")
        return "there"
    write(place, content)
    return "new"


def _download(artifact: Any, files: Sequence[str], extras: Sequence[str] = ()) -> dict[str, bytes]:
    """The files that it must have, and of the extras those it has; whatever else an artifact may
    hold is left where it is.

    Errors: ValueError where it lacks one that it must have, or W&B does not hand it out.
    """
    content = {}
    with tempfile.TemporaryDirectory(prefix="repflow-") as folder:
        for name in (*files, *extras):
            try:
                content[name] = Path(artifact.get_entry(name).download(root=folder)).read_bytes()
            except KeyError as error:
                if name in files:
                    raise ValueError(f"it has not got {' and '.join(files)}.") from error
            except Exception as error:  # of W&B's client, of many kinds
                raise ValueError(f"{name} did not come: {error}") from error
    return content
