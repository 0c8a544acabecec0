"""The commit of a result is the program's own, or unknown."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from repflow_pl.training.recording.versions import commit_of


def repository(folder: Path, *files: str) -> None:
    """A git repository with one commit of these files."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    identity = ("-c", "user.name=x", "-c", "user.email=x@x")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "x")):
        subprocess.run(["git", *command], cwd=folder, check=True)


@pytest.fixture(autouse=True)
def no_repository_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("GIT_DIR", raising=False)


def test_its_own_checkout_is_named_and_changes_are_marked(tmp_path: Path) -> None:
    package = tmp_path / "own" / "package"
    repository(tmp_path / "own", "package/__init__.py")
    commit = commit_of(package)
    assert len(commit) >= 7 and int(commit, 16) >= 0
    (package / "new.py").touch()
    assert commit_of(package) == f"{commit}+"


def test_a_repository_around_an_installed_package_is_not_its_own(tmp_path: Path) -> None:
    users = tmp_path / "users"
    repository(users, "paper.tex")
    installed = users / ".venv" / "lib" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert commit_of(installed) == "unknown"
    subprocess.run(["git", "add", "-f", "."], cwd=users, check=True)  # one that keeps it, even
    assert commit_of(installed) == "unknown"


def test_without_a_repository_it_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    assert commit_of(tmp_path / "package") == "unknown"
