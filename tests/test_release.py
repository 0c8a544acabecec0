"""The workflows are well formed and call what there is; one version stands in all places."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import repflow_pl
from tests.programs import CHECKOUT

yaml = pytest.importorskip("yaml")
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))


def read(*place: str) -> str:
    return CHECKOUT.joinpath(*place).read_text(encoding="utf-8")


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def test_there_are_three() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "test"]


@pytest.mark.skipif(
    importlib.util.find_spec("check_jsonschema") is None, reason="needs check-jsonschema"
)
def test_workflows_fit_their_schema() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "github-workflows"]
    done = subprocess.run([*check, *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_there_is(path: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), flags=re.MULTILINE))
    for job in jobs(path).values():
        assert job["timeout-minutes"] and job["runs-on"] == "ubuntu-latest"
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            called = re.findall(r"\bmake ([\w-]+)", step.get("run", ""))
            assert set(called) <= targets
            assert re.fullmatch(r"[\w./-]+@[\w./]+", step.get("uses", "owner/action@v1"))
            # What somebody else names, as a branch, is no part of a command.
            assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_do_no_more_than_they_need(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        assert ("permissions" in job) == (name in ("deploy", "publish"))
        assert "secrets" not in str(job)


def test_the_oldest_and_the_newest_python_are_tested() -> None:
    (oldest,) = re.findall(r'requires-python = ">=(.*)"', read("pyproject.toml"))
    tested = jobs(CHECKOUT / ".github" / "workflows" / "test.yml")
    assert tested["pinned"]["strategy"]["matrix"]["python"][0] == oldest


def test_one_version_stands_in_all_places() -> None:
    version = re.escape(repflow_pl.__version__)
    assert re.search(rf"^version: {version}$", read("CITATION.cff"), flags=re.MULTILINE)
    first = re.findall(r"^## (.*)$", read("CHANGELOG.md"), flags=re.MULTILINE)[0]
    assert re.match(rf"{version} – (not released yet|20\d\d-\d\d-\d\d)$", first), first
