"""`repflow audit`: what is planted is found and nothing else, and what is found is said."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.__main__ import main
from repflow_pl.audit import thumbs
from repflow_pl.audit.findings import Findings, Leak, Pair
from repflow_pl.audit.pairs import Place, leaks_of, straddles
from repflow_pl.data.index import Split, candidates_of
from repflow_pl.strict import parse
from tests.audit.conftest import Planted, hasten
from tests.audit.planting import CHANGES, original, plant

pytestmark = pytest.mark.long


def audited(root: Path, out: Path, *more: str) -> tuple[int, dict[str, Any]]:
    status = main(["audit", str(root), "--out", str(out), *more])
    return status, json.loads((out / "audit.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Audited:
    """Of the set with planted leaks."""

    status: int
    out: Path
    found: dict[str, Any]
    said: list[str]


@pytest.fixture(scope="module")
def leaking(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    out, told = tmp_path_factory.mktemp("leaking"), io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(told):
        hasten(patched)
        status, found = audited(planted.root, out)
    return Audited(status, out, found, told.getvalue().splitlines())


def test_planted_copies_are_found_and_no_others(planted: Planted, leaking: Audited) -> None:
    pairs = {frozenset((pair["first"], pair["second"])): pair for pair in leaking.found["pairs"]}
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


def test_a_leak_is_one_sentence_and_status_1(leaking: Audited) -> None:
    assert leaking.status == 1
    (leak,) = leaking.found["leaks"]
    assert (leak["seen"], leak["alike"], leak["videos"], leak["by"]) == (20, 20, 32, ["train"])
    assert leaking.said[0] == (
        "split 1 of folder leaks: 20 of its 32 test videos show what train videos show; keep these "
        "on one side, or leave them out."
    )
    assert "pairs of videos that show the same on one side of every split: 1." in leaking.said
    recipe = leaking.found["suggestion"]["options"]
    assert f"a recipe to begin with: {recipe}" in leaking.said
    parse(Findings, leaking.found)


LOOK = """
const images = [...document.images];
images.forEach((image) => { image.loading = "eager"; });
await Promise.allSettled(images.map((image) => image.decode()));
return {
  images: images.length,
  broken: images.filter((image) => !image.naturalWidth).map((image) => image.src),
  wide: document.documentElement.scrollWidth,
  window: window.innerWidth,
  links: [...document.links].map((link) => link.getAttribute("href")),
  text: document.body.innerText,
};
"""


def test_the_page_shows_every_pair(leaking: Audited, browser: Any) -> None:
    pairs = leaking.found["pairs"]
    assert all((leaking.out / pair["picture"]).is_file() for pair in pairs)
    browser.get((leaking.out / "index.html").as_uri())
    seen = browser.execute_script(f"return (async () => {{{LOOK}}})()")
    assert browser.get_log("browser") == [] and not seen["broken"]
    assert seen["images"] == len(pairs) and seen["wide"] <= seen["window"]
    assert "audit.json" in seen["links"]
    assert all((leaking.out / link).is_file() for link in seen["links"])
    assert all(pair[side] in seen["text"] for pair in pairs for side in ("first", "second"))


def test_what_a_file_is_called_is_text_on_the_page(tmp_path: Path) -> None:
    seeds = itertools.count(9000)
    for part, label in itertools.product(("train", "test"), ("a", "<b>bold<i>")):
        for k in range(2):
            original(tmp_path / "root" / part / label / f"{k}.mp4", next(seeds))
    audited(tmp_path / "root", tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<b>bold" not in page and "&lt;b&gt;bold&lt;i&gt;" in page


def test_a_list_of_groups_mends_the_split(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    for path in clean.rglob("*.mp4"):
        place = root / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(path)
    sources = sorted(root.rglob("*.mp4"))[:12]
    broken = sources[0].with_name("broken.mp4")
    broken.write_bytes(b"this is no video\n")
    for source in sources:
        plant(source, source.with_name(f"{source.stem}_again.mp4"), "encoded")
    assert audited(root, out)[0] == 1
    assert f"copied to {root}, {out / 'groups.csv'} keeps" in capsys.readouterr().out
    before = {each.path: each.split for each in candidates_of("folder", root)}
    shutil.copy(out / "groups.csv", root)
    assert audited(root, out)[0] == 0
    after = {each.path: each.split for each in candidates_of("folder", root)}
    moved = {path for path in after if after[path] != before[path]}
    assert moved and all("_again" in path for path in moved), "all others stay where they were"


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
from repflow_pl.data.sets import folder
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

    def counted(job: thumbs.Job) -> None:
        taken.append(job.path)
        take(job)

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


def test_a_set_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "test"):
        place = tmp_path / "root" / part / "run" / "1.mp4"
        place.parent.mkdir(parents=True)
        place.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert main(["audit", str(tmp_path / "root"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "folder: no video can be read, as" in said and said.rstrip().endswith(
        "fetch them again."
    )
    assert main(["audit", str(tmp_path / "root"), "--out", str(tmp_path / "root" / "out")]) == 2
    assert "where a folder is a class; name another one by --out." in capsys.readouterr().err
    assert not (tmp_path / "root" / "out").exists()


def test_each_official_split_is_asked() -> None:
    first = Place("a", "", {1: "train", 2: "test", 3: "val"})
    second = Place("a", "", {1: "train", 2: "train", 3: "test"})
    found = straddles(first, second)
    assert [(each.fold, each.first, each.second) for each in found] == [
        (2, "test", "train"),
        (3, "val", "test"),
    ]


def test_a_leak_counts_the_groups_of_what_is_seen() -> None:
    """Videos of a group are alike by the set's own word, whether or not each of them is found."""
    sides: dict[str, tuple[str, Split]] = {
        "a1": ("a", "test"),
        "a2": ("a", "test"),
        "a3": ("a", "val"),
        "b1": ("b", "train"),
        "c1": ("c", "test"),
        "alone": ("", "test"),
        "alone too": ("", "test"),
    }
    places = {path: Place("run", group, {1: part}) for path, (group, part) in sides.items()}
    pairs = [
        Pair(one, "b1", "scene", False, 0.8, (0.0, 0.0), True, straddles(places[one], places["b1"]))
        for one in ("a1", "alone")
    ]
    (leak,) = leaks_of(pairs, places, {(1, "test"): 5})
    assert leak == Leak(1, "test", seen=2, alike=3, videos=5, by=("train",))
