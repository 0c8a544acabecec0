import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repflow_pl.data import index
from repflow_pl.data.decoding.decode import VARIABLE, probe
from repflow_pl.data.decoding.decode_pyav import Probe
from repflow_pl.data.index import Candidate, data_set, open_set
from repflow_pl.data.listing import manifest, registry
from repflow_pl.data.views import check_clip
from repflow_pl.errors import UserError
from repflow_pl.files import cache_dir
from repflow_pl.specs import ClipSpec

from .conftest import one_sentence, refused, write_video
from .decoding.test_decode import broken_files


def make_folder(root: Path, clips: int = 5, classes: tuple[str, ...] = ("jump", "run")) -> Path:
    """ROOT/{train,test}/<class>/<n>.mp4, the last clip of each class to test."""
    for label in classes:
        for n in range(clips):
            part = "train" if n < clips - 1 else "test"
            write_video(root / part / label / f"{n}.mp4", frames=6 + n, seed=n)
    return root


def test_an_opened_set(tmp_path: Path) -> None:
    opened = open_set("folder", make_folder(tmp_path / "set"), workers=0)
    assert opened.classes == ("jump", "run")
    assert len(opened.videos) == 10
    assert [len(opened.part(split)) for split in ("train", "val", "test")] == [8, 0, 2]
    video = opened.part("train")[0]
    assert (video.width, video.height, video.fps) == (64, 48, 10.0)
    assert video.frames == 6 + int(Path(video.path).stem)
    assert video.bytes == (opened.root / video.path).stat().st_size


def test_broken_files_are_left_out_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "set")
    made = broken_files(tmp_path / "broken")
    for name, path in made.items():
        shutil.copy(path, root / "train" / "run" / name)
    opened = open_set("folder", root, workers=0)
    assert {file.path for file in opened.broken} == {f"train/run/{name}" for name in made}
    assert len(opened.videos) == 10
    assert all(file.reason and "\n" not in file.reason for file in opened.broken)
    shown = capsys.readouterr().err
    assert f"{len(made)} of {10 + len(made)} videos cannot be read" in shown
    assert all(f"train/run/{name}" in shown for name in made)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, one after the other."""
    paths: list[str] = []
    plain = manifest.decode
    monkeypatch.setattr(manifest, "decode", lambda job: paths.append(job[1].path) or plain(job))
    return paths


def test_a_link_to_itself_is_named_like_any_file_that_cannot_be_read(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", clips=3)
    for name, target in (("loop.mp4", "loop.mp4"), ("nothing.mp4", "nowhere.mp4")):
        (root / "train" / "run" / name).symlink_to(target)
    opened = open_set("folder", root, workers=0)
    assert [(file.path, file.reason) for file in opened.broken] == [
        ("train/run/loop.mp4", "Too many levels of symbolic links")
    ]
    assert opened.missing == ("train/run/nothing.mp4",)


def test_only_changed_files_are_decoded_again(tmp_path: Path, decoded: list[str]) -> None:
    root = make_folder(tmp_path / "set")
    open_set("folder", root, workers=0)
    decoded.clear()
    first = open_set("folder", root, workers=0)
    assert decoded == []
    write_video(root / "train" / "run" / "3.mp4", frames=20)
    second = open_set("folder", root, workers=0)
    assert decoded == ["train/run/3.mp4"]
    assert first.fingerprint != second.fingerprint
    assert {video.frames for video in second.videos if video.path == "train/run/3.mp4"} == {20}


def test_a_video_of_two_classes_is_decoded_once_and_named(
    tmp_path: Path, decoded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "set")

    def of_two(_: Path) -> list[Candidate]:
        return [Candidate("train/run/0.mp4", label, "train") for label in ("run", "jump")]

    for _ in range(2):
        videos = index.list_set("folder", root, workers=0, listing=of_two).fold(1).videos
        assert [(video.path, video.label) for video in videos] == [
            ("train/run/0.mp4", 1),
            ("train/run/0.mp4", 0),
        ]
    assert len(decoded) == 1
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("folder: 1 videos, as train/run/0.mp4, are in several classes") == 1


@pytest.mark.parametrize(
    ("then", "now", "again"),
    [
        ("decord", "decord", []),
        ("pyav", "pyav", []),
        ("decord", "pyav", ["run/broken.mp4"]),
        ("pyav", "decord", ["run/0.mp4", "run/broken.mp4"]),
    ],
)
def test_what_one_decoder_found_and_the_other_may_not_rely_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decoded: list[str],
    then: str,
    now: str,
    again: list[str],
) -> None:
    """decord reads only what it was tried on, and what it could not read may be read by PyAV."""
    write_video(tmp_path / "run" / "0.mp4", frames=8)
    (tmp_path / "run" / "broken.mp4").write_bytes(b"no video")
    files = [(f"run/{name}.mp4", "run") for name in ("0", "broken")]
    monkeypatch.setenv(VARIABLE, then)
    before = manifest.examine("set", tmp_path, files, tmp_path / "m.csv", workers=0)
    decoded.clear()
    monkeypatch.setenv(VARIABLE, now)
    after = manifest.examine("set", tmp_path, files, tmp_path / "m.csv", workers=0)
    assert decoded == again
    assert {path: found.decoder for path, found in after.items()} == {
        path: now if path in again else then for path, _ in files
    }
    assert [bool(found.error) for found in before.values()] == [False, True]


def test_an_interrupted_indexing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    root = make_folder(tmp_path / "set")

    def interrupted(path: Path) -> Probe:
        if len(decoded) > 4:
            raise KeyboardInterrupt
        return probe(path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(manifest, "probe", interrupted)
        open_set("folder", root, workers=0)
    assert decoded.pop() not in decoded
    open_set("folder", root, workers=0)
    assert len(decoded) == len(set(decoded)) == 10


def test_the_fingerprint_is_of_the_files_and_not_of_their_place(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    moved = shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    os.utime(moved / "train" / "run" / "0.mp4", (1, 1))
    first = open_set("folder", root, workers=0)
    second = open_set("folder", moved, workers=0)
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 12


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "set")
    alone = open_set("folder", root, workers=0)
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "other"))
    assert open_set("folder", root, workers=2) == alone


def test_the_cache_is_where_the_environment_says(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_dir() == cache
    monkeypatch.setenv("REPFLOW_CACHE", "~/cache")  # as no shell has read it
    assert cache_dir() == Path.home() / "cache"


def test_mistakes_get_one_sentence(tmp_path: Path) -> None:
    def message(name: str, root: Path | None) -> str:
        with pytest.raises(UserError) as error:
            open_set(name, root, workers=0)
        return one_sentence(error)

    assert "did you mean motion_shapes" in message("motion_shape", None)
    assert "no folder was given" in message("folder", None)
    assert "there is no folder" in message("folder", tmp_path / "missing")
    assert "python -m repflow_pl.data import ut_interaction" in message("ut_interaction", None)
    (tmp_path / "empty").mkdir()
    assert "no videos under" in message("folder", tmp_path / "empty")
    root = make_folder(tmp_path / "set", clips=3)
    for path in (root / "train" / "run").iterdir():
        path.write_bytes(b"")
    assert "'run' has no readable video" in message("folder", root)


def test_what_looks_like_a_video_and_is_not_read_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "set", clips=2)
    for name in ("train/run/a.vob", "train/run/b.cam", "train/run/C.RMVB", "test/run/d.GIF"):
        (root / name).write_bytes(b"x")
    for name in ("notes.txt", ".hidden.vob", "LICENSE", "list.csv", "thumb.JPG", "facts.json"):
        (root / "train" / "run" / name).write_bytes(b"x")
    (root / "more").mkdir()
    (root / "more" / "weights.bin").write_bytes(b"x")  # not among videos
    open_set("folder", root, workers=0)
    told = "4 files look like videos and are not read: test/run/d.GIF, train/run/C.RMVB, "
    shown = " ".join(capsys.readouterr().err.split())
    assert f"folder: {told}train/run/a.vob and 1 more; convert them (ffmpeg -i FILE" in shown
    open_set("folder", root, workers=0)
    assert "look like videos" not in capsys.readouterr().err


def test_a_set_is_known_without_a_decoder_once_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "set", clips=2)
    assert index.known_set("folder", root) is None
    opened = open_set("folder", root, workers=0)
    monkeypatch.setattr(manifest, "isolated_map", lambda *_: pytest.fail("it decodes"))
    assert index.known_set("folder", root) == opened
    os.utime(root / "train" / "run" / "0.mp4", (1, 1))
    assert index.known_set("folder", root) is None
    assert index.known_set("motion_shapes") is None
    assert not (cache_dir() / "motion_shapes-v4").exists()


@pytest.mark.parametrize("split", ["val", "test"])
def test_no_video_is_trained_on_and_evaluated(
    tmp_path: Path, split: index.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "set", clips=2)
    twice = [Candidate("train/run/0.mp4", "run", part) for part in ("train", split)]
    entry = dataclasses.replace(registry._registry["folder"], candidates=lambda _: twice)
    monkeypatch.setitem(registry._registry, "folder", entry)
    with refused(f"0.mp4, are for {split} and for train"):
        open_set("folder", root, workers=0)


def test_the_marker_allows_mirrored_clips_and_changes_no_run(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", clips=2)
    before = open_set("folder", root, workers=0)
    with pytest.raises(UserError, match="mirrored clips may change their class"):
        check_clip(before, ClipSpec(frames=2, size=48, crop=(48, 48), flip=True))
    (root / "mirror_safe").touch()
    after = open_set("folder", root, workers=0)
    check_clip(after, ClipSpec(frames=2, size=48, crop=(48, 48), flip=True))
    assert dataclasses.replace(after, mirror_safe=False) == before
    assert index.default_clip("folder").flip is False


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered twice"):

        @data_set("folder", hint="")
        def again(root: Path) -> list[Candidate]:
            return []


def test_an_indexed_set_opens_without_heavy_imports(shapes: index.VideoSet) -> None:
    code = (
        "import sys; from pathlib import Path; from repflow_pl.data.index import open_set; "
        f"open_set('motion_shapes', Path({str(shapes.root)!r})); "
        "print([m for m in ('torch', 'lightning', 'decord', 'cv2') if m in sys.modules])"
    )
    environment = {**os.environ, "REPFLOW_CACHE": str(shapes.root.parent / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
