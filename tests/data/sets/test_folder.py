import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from repflow_pl.data.index import Candidate, candidates_of
from repflow_pl.data.listing.found import unread_under, videos_under
from repflow_pl.data.sets.folder import folder, split_of
from repflow_pl.errors import UserError

from ..conftest import one_sentence


def listed(root: Path) -> list[Candidate]:
    return list(folder(root))


def parts(root: Path) -> dict[str, str]:
    return {candidate.path: candidate.split for candidate in listed(root)}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_shares_of_the_parts() -> None:
    counts = Counter(split_of(f"run/{n}") for n in range(20_000))
    assert {part: round(n / 20_000, 1) for part, n in counts.items()} == {
        "train": 0.7,
        "val": 0.1,
        "test": 0.2,
    }
    # Another place for these would move videos of every set that was ever split.
    assert [split_of(f"a/{n}") for n in (1, 2, 3)] == ["train", "test", "test"]
    assert [split_of(f"jump/{n}") for n in (14, 15, 16)] == ["train", "test", "val"]


@pytest.mark.parametrize("grouped", [False, True])
def test_what_comes_or_goes_moves_no_other_video(tmp_path: Path, grouped: bool) -> None:
    rng = np.random.default_rng(int(grouped))
    names = [f"{'ab'[n % 2]}/{rng.integers(10**9)}.mp4" for n in range(60)]
    lines = ["path,group", *(f"{name},person {n % 25}" for n, name in enumerate(names))]
    if grouped:
        (tmp_path / "groups.csv").write_text("\n".join(lines))
    touch(*(tmp_path / name for name in names[:2]))
    seen = parts(tmp_path)
    for _ in range(40):
        path = tmp_path / names[rng.integers(2, 60)]
        path.unlink() if path.exists() else touch(path)
        now = parts(tmp_path)
        assert all(seen.setdefault(name, part) == part for name, part in now.items())
    assert {"train", "test"} <= set(seen.values())
    if grouped:
        groups = {(names.index(name) % 25, part) for name, part in seen.items()}
        assert len(groups) == len({group for group, _ in groups}) < len(seen)


def test_another_container_stays_in_its_part_and_group(tmp_path: Path) -> None:
    touch(*(tmp_path / "run" / f"{n}.avi" for n in range(40)))
    before = parts(tmp_path)
    lines = ["path,group", *(f"run/{n}.avi,{n // 4}" for n in range(40))]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    grouped = parts(tmp_path)
    assert grouped != before
    assert {video.group for video in candidates_of("folder", tmp_path)} == set("0123456789")
    for path in (tmp_path / "run").iterdir():
        path.rename(path.with_suffix(".mp4"))
    assert {f"{Path(p).with_suffix('.avi')}": s for p, s in parts(tmp_path).items()} == grouped
    (tmp_path / "groups.csv").unlink()
    assert {f"{Path(p).with_suffix('.avi')}": s for p, s in parts(tmp_path).items()} == before


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
    assert {c.group for c in listed(given)} == {""}
    lines = ["path,group", *(f"{part}/run/1.mp4,{part[-1]}" for part in ("train", "val", "test"))]
    (given / "groups.csv").write_text("\n".join(lines))
    assert {(c.split, c.group) for c in listed(given)} == {
        ("train", "n"),
        ("val", "l"),
        ("test", "t"),
    }
    shutil.rmtree(given / "val")
    assert len(listed(given)) == 2


@pytest.mark.parametrize("names", [("Train", "Test", "VAL"), ("TRAIN", "test", "Val")])
def test_parts_in_capitals_are_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(*(tmp_path / name / "run" / "1.mp4" for name in names))
    assert {(c.path, c.label, c.split) for c in listed(tmp_path)} == {
        (f"{name}/run/1.mp4", "run", name.lower()) for name in names
    }


def test_links_are_followed_and_may_go_round_in_circles(tmp_path: Path) -> None:
    root, other = tmp_path / "set", tmp_path / "other"
    touch(root / "run" / "1.mp4", root / "jump" / "2.mp4", other / "3.mp4")
    (root / "run" / "more").symlink_to(other)
    before = {candidate.path for candidate in listed(root)}
    assert before == {"run/1.mp4", "run/more/3.mp4", "jump/2.mp4"}
    for k, target in enumerate((root, root / "run", other, tmp_path, Path("/"))):
        (root / "run" / f"z{k}").symlink_to(target)
        (other / f"z{k}").symlink_to(target)
    (root / "run" / "itself").symlink_to(root / "run" / "itself")
    assert {candidate.path for candidate in listed(root)} == before
    for name, target in (("a", root), ("b", tmp_path), ("c", root / "c")):  # no classes
        (root / name).symlink_to(target)
    assert {candidate.path for candidate in listed(root)} == before


def test_mistakes_get_one_sentence(tmp_path: Path) -> None:
    def message(root: Path) -> str:
        with pytest.raises(UserError) as error:
            listed(root)
        return one_sentence(error)

    touch(tmp_path / "a" / "run" / "1.mp4", tmp_path / "a" / "jump" / "notes.txt")
    assert "the class 'jump' has no videos" in message(tmp_path / "a")
    touch(tmp_path / "b" / "train" / "run" / "1.mp4")
    assert "no folder 'test'" in message(tmp_path / "b")
    touch(*(tmp_path / "b" / name / "run" / "1.mp4" for name in ("test", "validation")))
    assert "'validation' beside them is none of train, val, test" in message(tmp_path / "b")
    touch(*(tmp_path / "f" / name / "run" / "1.mp4" for name in ("Training", "Testing")))
    assert "Testing, Training in" in message(tmp_path / "f")
    touch(tmp_path / "d" / "Test" / "run" / "1.mp4", tmp_path / "d" / "test" / "run" / "1.mp4")
    assert "are one part" in message(tmp_path / "d")
    touch(tmp_path / "c" / "run" / "1.mp4", tmp_path / "c" / "run" / "2.mp4")
    groups = tmp_path / "c" / "groups.csv"
    groups.write_text("file,person\nrun/1.mp4,x\n")
    assert "must be path,group" in message(tmp_path / "c")
    groups.write_text("path,group\nrun/1.mp4,x\n")
    assert "no line for the video run/2.mp4" in message(tmp_path / "c")
    groups.write_text("path,group\nrun/1.mp4,x\nrun/2.mp4")
    assert "every other one such a pair" in message(tmp_path / "c")
    groups.write_text("path,group\nrun/1.mp4,x\nrun/1.mp4,y\n")
    assert "into two groups" in message(tmp_path / "c")
    groups.write_text("path,group\nrun/1, x.mp4,a\nrun/1, y.mp4,b\n")
    assert "the line that begins with 'run/1' has more columns" in message(tmp_path / "c")
    groups.write_bytes(b"path,group\nrun/1.mp4,caf\xe9\n")
    assert "no CSV file in UTF-8" in message(tmp_path / "c")
    (tmp_path / "e" / "run").mkdir(parents=True)
    Path(str(tmp_path / "e" / "run") + "/caf\udce9.mp4").touch()
    assert "the name of run/caf\\xe9.mp4 is not in UTF-8" in message(tmp_path / "e")


def test_a_folder_that_nobody_has_made_yet_is_empty(tmp_path: Path) -> None:
    """As a generated set's is, on a machine without a cache."""
    root = tmp_path / "cache" / "set"
    assert not unread_under(root) and not list(videos_under(root))
