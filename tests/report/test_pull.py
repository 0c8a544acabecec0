"""Results from W&B: taken, found there already, or refused one by one; never overwritten."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.report import __main__ as command
from repflow_pl.report.page import YOURS
from repflow_pl.report.pull import Pulled, pull
from repflow_pl.training.planning.lock import held
from tests.programs import CHECKOUT
from tests.programs import run as program

PUBLISHED = CHECKOUT / "tables" / "runs"
FIRST, SECOND = sorted(path.parent for path in PUBLISHED.glob("*/seed0/result.json"))[:2]


@dataclass(frozen=True)
class Entry:
    """A file of an artifact, as wandb.Api has it."""

    path: Path

    def download(self, root: str) -> str:
        copy = Path(root) / self.path.name
        copy.write_bytes(self.path.read_bytes())
        return str(copy)


@dataclass(frozen=True)
class Artifact:
    """A result that was logged from a folder."""

    folder: Path
    name: str
    type: str = "result"

    def get_entry(self, name: str) -> Entry:
        if not (self.folder / name).exists():
            raise KeyError(name)
        return Entry(self.folder / name)


@dataclass(frozen=True)
class Run:
    artifacts: list[Artifact]
    state: str = "finished"

    def logged_artifacts(self) -> Iterator[Artifact]:
        return iter(self.artifacts)


@dataclass
class Api:
    made: list[Run] = field(default_factory=list)

    def runs(self, project: str) -> Iterator[Run]:
        if project != "lab/repflow":
            raise ValueError(f"Could not find project {project}")
        return iter(self.made)


def logged(folder: Path, name: str | None = None, **options: Any) -> Run:
    """A run as it is in W&B, of a folder <hash>/seed0."""
    name = name or f"result-{folder.parent.name}-seed0:v0"
    table = Artifact(folder, "table-x-y:v0", "table")
    return Run([table, Artifact(folder, name)], **options)


def facts_of(tmp_path: Path, stem: str, text: str) -> Run:
    """A table's run with the facts of its data set."""
    folder = tmp_path / "logged"
    folder.mkdir(parents=True)
    (folder / "facts.json").write_text(text)
    return Run([Artifact(folder, f"data-{stem}:v0", "data")])


def changed(tmp_path: Path, file: str, change: Callable[[Any], None]) -> Path:
    """A copy of the first folder with one of its files changed."""
    copy = tmp_path / "elsewhere" / FIRST.parent.name / "seed0"
    copy.mkdir(parents=True)
    for path in FIRST.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    plain = json.loads((copy / file).read_text())
    change(plain)
    (copy / file).write_text(json.dumps(plain))
    return copy


def outcomes(runs: Path, *made: Run) -> list[Pulled]:
    return list(pull(Api(list(made)), "lab/repflow", runs))


def test_results_are_brought_as_they_are(tmp_path: Path) -> None:
    unfinished = [logged(SECOND, state=state) for state in ("running", "failed", "crashed")]
    assert [each.state for each in outcomes(tmp_path, logged(FIRST), *unfinished)] == ["new"]
    place = tmp_path / FIRST.parent.name / "seed0"
    names = {path.name for path in FIRST.iterdir()}
    assert {path.name for path in place.iterdir()} == {*names, "lock"}
    for name in names:
        assert (place / name).read_bytes() == (FIRST / name).read_bytes()
    assert not (tmp_path / SECOND.parent.name).exists()
    before = (place / "result.json").stat().st_mtime_ns
    assert [each.state for each in outcomes(tmp_path, logged(FIRST))] == ["there"]
    assert (place / "result.json").stat().st_mtime_ns == before


def cut(plain: Any) -> None:
    del plain["top1"]


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        ("spec.json", lambda p: p["recipe"].update(lr=1.0), "its spec has the hash"),
        ("spec.json", lambda p: p["recipe"].update(colour=1), "unknown field recipe.colour"),
        ("result.json", lambda p: p.update(spec="0" * 12), "but its result is of 000000000000"),
        ("result.json", lambda p: p.update(seed=7), "seed 7"),
        ("result.json", lambda p: p.update(path="/home"), "unknown field path"),
        ("result.json", cut, "there is no field top1"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_others_go_on(
    tmp_path: Path, file: str, change: Callable[[Any], None], why: str
) -> None:
    bad = logged(changed(tmp_path, file, change))
    first, second = outcomes(tmp_path / "runs", bad, logged(SECOND))
    assert first.state == "refused" and why in str(first) and "\n" not in str(first)
    assert second.state == "new"
    assert not list((tmp_path / "runs" / FIRST.parent.name).rglob("*.json"))


@pytest.mark.long
def test_facts_of_data_sets_come_too_and_tables_need_no_more(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (facts,) = (PUBLISHED / "data").glob("motion_shapes-*.json")
    run = facts_of(tmp_path, facts.stem, facts.read_text())
    results = [logged(path.parent) for path in PUBLISHED.glob("*/seed0/result.json")]
    pulled = outcomes(runs, *results, run)
    assert {each.state for each in pulled} == {"new"} and len(pulled) == len(results) + 1
    assert (runs / "data" / facts.name).read_bytes() == facts.read_bytes()
    assert [each.state for each in outcomes(runs, run)] == ["there"]
    given = ["--from-results", str(runs), "--out", str(tmp_path)]
    assert program("experiments/table_placement.py", given) == 0
    page = (tmp_path / YOURS / "motion_shapes" / "placement.md").read_text()
    assert len(re.findall(r"\| \d+\.\d(?:\*\*)? \| 1 \|", page)) >= 9, "a figure in every row"


def test_facts_with_fields_and_names_are_those_of_older_ones_without_names(tmp_path: Path) -> None:
    (path,) = (PUBLISHED / "data").glob("motion_shapes-*.json")
    older = {**json.loads(path.read_text()), "fields": {"stride1": "how"}}
    newer = {**older, "classes": ["a", "b"]}
    for k, (first, second) in enumerate([(older, newer), (newer, older)]):
        runs = [
            facts_of(tmp_path / f"{k}{name}", path.stem, json.dumps(facts))
            for name, facts in (("a", first), ("b", second))
        ]
        states = [outcomes(tmp_path / str(k), run)[0].state for run in runs]
        assert states == ["new", "there"]
    other = facts_of(tmp_path, path.stem, json.dumps({**newer, "chance": 0.5}))
    assert outcomes(tmp_path / "0", other)[0].state == "refused"


@pytest.mark.parametrize(
    ("stem", "changes", "why"),
    [
        ("a-b", {}, "its facts are of"),
        ("../../a-b", {"name": "../../a", "fingerprint": "b"}, "its facts are of"),
        (None, {"colour": 1}, "unknown field colour"),
        (None, {"chance": "high"}, "chance"),
    ],
)
def test_facts_that_do_not_fit_are_refused(
    tmp_path: Path, stem: str | None, changes: dict[str, Any], why: str
) -> None:
    (path,) = (PUBLISHED / "data").glob("motion_shapes-*.json")
    text = json.dumps({**json.loads(path.read_text()), **changes})
    (refused,) = outcomes(tmp_path / "runs", facts_of(tmp_path, stem or path.stem, text))
    assert refused.state == "refused" and why in str(refused) and "\n" not in str(refused)
    assert not list(tmp_path.rglob("*-*.json"))


def test_a_result_that_is_there_stays(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    outcomes(runs, logged(FIRST))
    kept = (runs / FIRST.parent.name / "seed0" / "result.json").read_bytes()
    (refused,) = outcomes(
        runs, logged(changed(tmp_path, "result.json", lambda plain: plain.update(top1=1.0)))
    )
    assert refused.state == "refused" and "differs from" in refused.why
    assert (runs / FIRST.parent.name / "seed0" / "result.json").read_bytes() == kept


def test_another_name_a_missing_file_and_a_run_at_work_are_refused(tmp_path: Path) -> None:
    (misnamed,) = outcomes(tmp_path, logged(FIRST, "result-other-seed0:v3"))
    assert misnamed.why == f"its result is of {FIRST.parent.name}, seed 0."
    (empty,) = outcomes(tmp_path, logged(tmp_path, "result-empty-seed0:v0"))
    assert empty.why == "it has not got result.json and spec.json."
    with held(tmp_path / FIRST.parent.name / "seed0"):
        (busy,) = outcomes(tmp_path, logged(FIRST))
    assert busy.why == "this run is being made here just now."
    assert {each.state for each in (misnamed, empty, busy)} == {"refused"}
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.long
def test_the_command_counts_and_tells_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Api([logged(FIRST), logged(SECOND)])
    monkeypatch.setattr(command, "open_api", lambda: made)
    arguments = ["wandb", "lab/repflow", "--runs", str(tmp_path)]
    assert command.main(arguments) == 0
    assert "2 brought, 0 were there, 0 refused." in capsys.readouterr().out
    made.made.append(logged(SECOND, "result-other-seed0:v0"))
    assert command.main(arguments) == 1
    assert "0 brought, 2 were there, 1 refused." in capsys.readouterr().out
    assert command.main(["wandb", "lab/another", "--runs", str(tmp_path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "lab/another cannot be read" in said


def test_without_a_login_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("repflow_pl.report.pull.is_logged_in", lambda: False)
    assert command.main(["wandb", "lab/repflow", "--runs", str(tmp_path)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said == "error: nobody is logged in to W&B here: run `wandb login`, then this again."


@pytest.mark.long
def test_the_fake_has_what_wandb_has() -> None:
    wandb = pytest.importorskip("wandb")
    from wandb.apis.public import Run as TheirRun

    assert all(hasattr(wandb.Api, name) for name in ("runs",))
    assert hasattr(TheirRun, "logged_artifacts") and hasattr(TheirRun, "state")
    assert all(hasattr(wandb.Artifact, name) for name in ("name", "type", "get_entry"))
