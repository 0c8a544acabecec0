import shutil
from collections import Counter
from pathlib import Path

import pytest

from repflow_pl.data.folder import folder, group_split, stratified_split
from repflow_pl.data.index import Candidate
from repflow_pl.errors import UserError

from .conftest import one_sentence


def listed(root: Path) -> list[Candidate]:
    return list(folder(root))


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_split_is_stratified_and_seeded() -> None:
    labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 3
    parts = stratified_split(labels)
    counts = Counter(zip(labels, parts, strict=True))
    assert [counts["a", split] for split in ("train", "val", "test")] == [70, 10, 20]
    assert [counts["b", split] for split in ("train", "val", "test")] == [35, 5, 10]
    assert [counts["c", split] for split in ("train", "val", "test")] == [2, 0, 1]
    assert parts == stratified_split(labels)
    assert parts != stratified_split(labels, seed=1)


@pytest.mark.parametrize("n_groups", [2, 3, 5, 20, 60])
def test_groups_stay_together(n_groups: int) -> None:
    videos = [(f"{label}/{i}.mp4", label) for label in "ab" for i in range(60)]
    groups = [str(i % n_groups) for i in range(len(videos))]
    parts = group_split(videos, groups)
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups))
    assert {"train", "test"} <= set(parts)
    if n_groups == 60:
        share = Counter(parts)
        assert 78 <= share["train"] <= 90 and 20 <= share["test"] <= 28


def test_layouts(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    touch(*(plain / "run" / name for name in ("1.MP4", "2.avi", "deep/3.webm", "4.mkv", "5.mov")))
    touch(plain / "run" / ".hidden.mp4", plain / "run" / "notes.txt", plain / ".trash" / "6.mp4")
    touch(plain / "run" / ".part" / "7.mp4")
    found = listed(plain)
    assert {candidate.path for candidate in found} == {
        "run/1.MP4",
        "run/2.avi",
        "run/deep/3.webm",
        "run/4.mkv",
        "run/5.mov",
    }
    given = tmp_path / "given"
    touch(*(given / split / "run" / "1.mp4" for split in ("train", "val", "test")))
    assert {(c.path, c.label, c.split) for c in listed(given)} == {
        (f"{split}/run/1.mp4", "run", split) for split in ("train", "val", "test")
    }
    shutil.rmtree(given / "val")
    assert len(listed(given)) == 2


def test_groups_are_read(tmp_path: Path) -> None:
    touch(*(tmp_path / "run" / f"{i}.mp4" for i in range(12)))
    lines = ["path,group", *(f"run/{i}.mp4,{i // 3}" for i in range(12))]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    groups = {(int(Path(c.path).stem) // 3, c.split) for c in listed(tmp_path)}
    assert len(groups) == 4


def test_mistakes_get_one_sentence(tmp_path: Path) -> None:
    def message(root: Path) -> str:
        with pytest.raises(UserError) as error:
            listed(root)
        return one_sentence(error)

    touch(tmp_path / "a" / "run" / "1.mp4", tmp_path / "a" / "jump" / "notes.txt")
    assert "the class 'jump' has no videos" in message(tmp_path / "a")
    touch(tmp_path / "b" / "train" / "run" / "1.mp4")
    assert "no folder 'test'" in message(tmp_path / "b")
    touch(tmp_path / "c" / "run" / "1.mp4", tmp_path / "c" / "run" / "2.mp4")
    groups = tmp_path / "c" / "groups.csv"
    groups.write_text("file,person\nrun/1.mp4,x\n")
    assert "must be: path,group" in message(tmp_path / "c")
    groups.write_text("path,group\nrun/1.mp4,x\n")
    assert "no line for the video run/2.mp4" in message(tmp_path / "c")
    groups.write_text("path,group\nrun/1.mp4,x\nrun/2.mp4,x\n")
    assert "one group only" in message(tmp_path / "c")
