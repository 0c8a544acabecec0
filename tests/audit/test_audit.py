"""`repflow audit`: what is planted is found and nothing else, and what is found is said."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.__main__ import main
from repflow_pl.audit import thumbs
from repflow_pl.audit.findings import Findings
from repflow_pl.audit.pairs import Place, straddles
from repflow_pl.strict import parse
from tests.audit.conftest import Planted
from tests.audit.planting import CHANGES, original


def audited(root: Path, out: Path, *more: str) -> tuple[int, dict[str, Any]]:
    status = main(["audit", str(root), "--out", str(out), *more])
    return status, json.loads((out / "audit.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("repflow_pl.data.isolated.default_workers", lambda: 0)
        status, found = audited(planted.root, tmp_path_factory.mktemp("found"))
    assert status == 1
    return found


def test_planted_copies_are_found_and_no_others(planted: Planted, found: dict[str, Any]) -> None:
    pairs = {frozenset((pair["first"], pair["second"])): pair for pair in found["pairs"]}
    straddling = {key for key, pair in pairs.items() if pair["straddles"]}
    right = straddling & planted.leaks.keys()
    assert len(right) >= 0.95 * len(planted.leaks), "recall"
    assert len(right) >= 0.95 * len(straddling), "precision"
    by_change = Counter(planted.leaks[key] for key in right)
    assert by_change.keys() == CHANGES.keys()
    mirrored = {planted.leaks[key] for key in right if pairs[key]["mirrored"]}
    assert mirrored == {"mirrored"}
    assert sum(pairs[key]["kind"] == "copy" for key in right) >= 0.9 * len(right)
    assert not pairs[planted.inside]["straddles"], "a duplicate that leaks nothing"


def test_a_leak_is_one_sentence_and_status_1(
    planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = audited(planted.root, tmp_path)
    assert status == 1
    (leak,) = found["leaks"]
    assert (leak["seen"], leak["videos"], leak["by"]) == (20, 32, ["train"])
    lines = capsys.readouterr().out.splitlines()
    told = "split 1 of folder leaks: 20 of its 32 test videos show what train videos show; keep "
    assert [line.startswith(told) for line in lines].count(True) == 1
    parse(Findings, found)


def test_a_clean_split_is_status_0(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = audited(clean, tmp_path)
    assert status == 0 and not found["pairs"] and not found["leaks"]
    assert "no split of folder leaks: 36 videos were compared." in capsys.readouterr().out


KILLED = """
import os, signal, sys
from pathlib import Path
from repflow_pl.audit import thumbs
from repflow_pl.data import folder
from repflow_pl.data.index import list_set
take, taken = thumbs.take, []
def killed_after_five(job):
    if len(taken) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    taken.append(job)
    return take(job)
thumbs.take = killed_after_five
opened = list_set("folder", Path(sys.argv[1]), 0).fold(1)
thumbs.thumbs_of(opened.root, opened.videos, 0)
"""


def test_a_killed_audit_goes_on(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    done = subprocess.run([sys.executable, "-c", KILLED, str(clean)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    take, taken = thumbs.take, []

    def counted(job: thumbs.Job) -> str:
        taken.append(job.path)
        return take(job)

    monkeypatch.setattr(thumbs, "take", counted)
    assert audited(clean, tmp_path / "out")[0] == 0
    assert len(taken) == 36 - 5
    taken.clear()
    assert audited(clean, tmp_path / "out")[0] == 0
    assert not taken, "and the next one decodes nothing"
    (damaged, *_) = (tmp_path / "cache" / "audit").rglob("*.npz")
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert audited(clean, tmp_path / "out")[0] == 0
    assert len(taken) == 1


def test_what_is_wrong_with_classes_and_files_is_named(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    shutil.copytree(clean, root, symlinks=True)
    (root / "train" / "nothing").mkdir()
    original(root / "train" / "one" / "a.mp4", 1)
    original(root / "test" / "one" / "b.mp4", 2)
    (root / "train" / "left" / "broken.mp4").write_bytes(b"this is no video\n")
    status, found = audited(root, tmp_path / "out")
    assert status == 0
    said = capsys.readouterr().out
    assert f"the class 'nothing' has no videos in {root / 'train' / 'nothing'}." in said
    assert "the class 'one' has one video in the train part." in said
    assert "the class 'one' has one video in the test part." in said
    assert "train/left/broken.mp4 cannot be read: " in said
    assert "the classes are unbalanced: 12 training videos of 'left' and 1 of 'one'." in said
    assert [broken["path"] for broken in found["unreadable"]] == ["train/left/broken.mp4"]


def test_a_folder_that_is_none_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_each_official_split_is_asked() -> None:
    first = Place("a", "", {1: "train", 2: "test", 3: "val"})
    second = Place("a", "", {1: "train", 2: "train", 3: "test"})
    found = straddles(first, second)
    assert [(each.fold, each.first, each.second) for each in found] == [
        (2, "test", "train"),
        (3, "val", "test"),
    ]
