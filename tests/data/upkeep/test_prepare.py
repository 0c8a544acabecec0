import dataclasses
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from repflow_pl.data.__main__ import main
from repflow_pl.data.clips import ClipDataset, Sample
from repflow_pl.data.decoding.decode import probe, read_frames
from repflow_pl.data.fields.eight_bit import BOUND, ZERO
from repflow_pl.data.fields.flow_files import (
    FileFields,
    fields_beside,
    flow_file,
    read_fields,
    settings_here,
    write_fields,
)
from repflow_pl.data.index import candidates_of, list_set, open_set
from repflow_pl.data.sets import ut_interaction
from repflow_pl.data.upkeep import prepare as module
from repflow_pl.data.upkeep.prepare import Options, prepare
from repflow_pl.data.upkeep.reencode import even_size, reencode, resampled
from repflow_pl.data.upkeep.unpack import unpack_all
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

from .. import layouts, odd_videos
from ..conftest import folder_of, reader_of, refused, write_video
from ..rar_files import write_rar


@pytest.fixture
def bsdtar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bsdtar that stands in for the real one: the tests' rar files are tar files inside."""
    program = tmp_path / "bin" / "bsdtar"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys, tarfile\n"
        "assert sys.argv[1:3] == ['-x', '-f'] and sys.argv[4] == '-C'\n"
        "tarfile.open(sys.argv[3]).extractall(sys.argv[5])\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


def pack(path: Path, folder: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in sorted(folder.iterdir()):
            tar.add(member, member.name)
    return path


def nested_hmdb51(
    tmp_path: Path, pack: Callable[[Path, Path], Path] = pack
) -> tuple[Path, list[str]]:
    """hmdb51_org.rar of <class>.rar of <class>/<clip>.avi, and test_train_splits.rar; three of
    the classes, two clips each, as every archive is a process."""
    plain = tmp_path / "plain"
    plain.mkdir()
    video = write_video(tmp_path / "a.avi", frames=8, codec="mpeg4")
    paths, lists = layouts.hmdb51_files(plain, video)
    outer = tmp_path / "outer"
    outer.mkdir()
    packed = sorted(plain.iterdir())[:3]
    paths = [path for path in paths if plain / Path(path).parent in packed]
    for folder in packed:
        single = tmp_path / "single" / folder.name
        shutil.copytree(folder, single)
        pack(outer / f"{folder.name}.rar", single.parent)
        shutil.rmtree(single.parent)
    root = tmp_path / "root"
    root.mkdir()
    pack(root / "hmdb51_org.rar", outer)
    layouts.hmdb51_authors_lists(tmp_path / "splits", lists)
    pack(root / "test_train_splits.rar", tmp_path / "splits")
    return root, paths


@pytest.mark.long
@pytest.mark.usefixtures("bsdtar")
def test_hmdb51_from_its_nested_archives(tmp_path: Path) -> None:
    root, paths = nested_hmdb51(tmp_path)
    out = tmp_path / "out"
    videos, failed = prepare("hmdb51", root, out, Options(), workers=0)
    assert videos == len(paths) == 6 and not failed
    listed = list_set("hmdb51", out, workers=0).fold(1)
    assert sorted(v.path.split("/", 1)[1] for v in listed.videos) == sorted(paths)
    assert not listed.broken
    assert not list(out.rglob("*.rar")) and not list(out.rglob("*.part"))
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert prepare("hmdb51", root, out, Options(), workers=0) == (len(paths), [])
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


@pytest.mark.parametrize("program", ["unrar", "bsdtar"])
def test_real_rars_by_real_programs(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    only = tmp_path / "bin"
    only.mkdir()
    (only / program).symlink_to(found)
    root, paths = nested_hmdb51(tmp_path, write_rar)
    monkeypatch.setenv("PATH", str(only))
    videos, failed = prepare("hmdb51", root, tmp_path / "out", Options(), workers=0)
    assert videos == len(paths) and not failed
    damaged = root / "test_train_splits.rar"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with refused(r"test_train_splits\.rar cannot be read"):
        unpack_all(root, tmp_path / "again")
    assert not (tmp_path / "again" / "test_train_splits").exists()


def test_without_a_program_for_rar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "hmdb51_org.rar").write_bytes(b"Rar!")
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("neither unrar nor bsdtar is installed"):
        prepare("hmdb51", tmp_path / "root", tmp_path / "out", Options(), workers=0)
    assert not (tmp_path / "out" / "hmdb51_org").exists()


def test_archives_are_whole_or_absent(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with zipfile.ZipFile(source / "lists.zip", "w") as made:
        made.writestr("ucfTrainTestlist/classInd.txt", "1 ApplyEyeMakeup\n")
    unpack_all(source, tmp_path / "out")
    assert (tmp_path / "out" / "lists" / "ucfTrainTestlist" / "classInd.txt").is_file()
    (tmp_path / "x").write_text(" ".join(map(str, range(99_999))))
    for name in ("a.tar.gz", "b.tar.gz", "b.tar.xz"):
        content = b"no archive"
        if name.startswith("b"):  # damaged within a member
            with tarfile.open(source / name, f"w:{name[-2:]}") as tar:
                tar.add(tmp_path / "x", "x")
            content = (source / name).read_bytes()
            middle = len(content) // 2
            content = content[:middle] + bytes(range(40)) + content[middle + 40 :]
        (source / name).write_bytes(content)
        with refused(rf"{name} cannot be read"):
            unpack_all(source, tmp_path / "out")
        (source / name).unlink()
    for name, at, value in (("deflate64.zip", 10, 9), ("locked.zip", 8, 1)):
        with zipfile.ZipFile(source / name, "w") as made:
            made.writestr("1.mp4", "a video")
        content = bytearray((source / name).read_bytes())
        for header in (at - 2, content.index(b"PK\1\2") + at):
            content[header] = value
        (source / name).write_bytes(content)
        with refused(rf"{name} cannot be read"):
            unpack_all(source, tmp_path / "out")
        (source / name).unlink()
    with tarfile.open(source / "evil.tar", "w") as tar:
        tar.add(tmp_path / "x", "../x2")
    with pytest.raises(UserError, match="outside of its folder"):
        unpack_all(source, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["lists"]
    assert not (tmp_path / "x2").exists()


@pytest.mark.parametrize("kind", ["plain.mp4", "variable.mkv", "b_frames.avi"])
def test_reencoding_keeps_the_frames(tmp_path: Path, kind: str) -> None:
    from ..decoding.test_decoders import KINDS

    source = odd_videos.write(tmp_path / kind, **KINDS[kind])
    target = tmp_path / "small.mp4"
    reencode(source, target, 48)
    found = probe(target)
    assert (found.frames, found.height, found.width, found.access) == (90, 48, 64, "seek")
    frames = read_frames(target, [0, 17, 18, 55, 89], "seek")
    assert [odd_videos.number(frame) for frame in frames] == [0, 17, 18, 55, 89]
    assert sorted(tmp_path.iterdir()) == sorted([source, target])


def test_reencoding_to_another_rate_and_size(tmp_path: Path) -> None:
    source = odd_videos.write(tmp_path / "a.mp4", frames=60)  # two seconds
    reencode(source, tmp_path / "b.mp4", 24, 15.0)
    found = probe(tmp_path / "b.mp4")
    assert (found.height, found.width) == (24, 32)
    assert found.fps == pytest.approx(15.0) and found.frames == pytest.approx(30, abs=1)
    write_video(tmp_path / "c.ts", frames=20)  # whose first frame comes at 1.4 seconds or so
    segment = av.open(str(tmp_path / "c.ts"))
    with segment, av.open(str(tmp_path / "d.ts"), "w") as late:
        stream = late.add_stream_from_template(segment.streams.video[0])
        for packet in segment.demux(video=0):
            if packet.size:
                packet.stream = stream
                packet.pts += 60 * 90_000
                packet.dts += 60 * 90_000
                late.mux(packet)
    for name in ("c.ts", "d.ts"):
        reencode(tmp_path / name, tmp_path / "e.mp4", 24, 10.0)
        assert probe(tmp_path / "e.mp4").frames == 20
    assert even_size(240, 427, 128) == (128, 228)
    assert even_size(100, 90, 128) == (100, 90)
    times = [(0.0, "a"), (0.1, "b"), (0.5, "c"), (0.6, "d")]
    assert [f for _, f in resampled(iter(times), 5.0)] == ["a", "b", "b", "d"]


def test_preparing_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    for label in ("Train/jump", "Train/run", "Test/jump", "Test/run"):
        for n in range(5 if "Test" in label else 0, 6):
            write_video(root / label / f"{n}.avi", frames=6, size=(96, 128), seed=n, codec="mpeg4")
    (root / "Train" / "run" / "9.avi").write_bytes(layouts.BROKEN)
    command = ["prepare", "folder", str(root), str(out), "--short-side", "48", "--workers", "0"]
    assert main(command) == 1
    shown = capsys.readouterr().out
    assert "14 videos, 1 left out" in shown and "Train/run/9.avi: Invalid data" in shown
    opened = open_set("folder", out, workers=0)
    assert len(opened.videos) == 14
    assert {(v.height, v.width, v.frames) for v in opened.videos} == {(48, 64, 6)}
    made = {p: p.stat().st_mtime_ns for p in out.rglob("*.mp4")}
    (out / "Train" / "run" / "3.mp4").unlink()
    main([*command, "--flow"])
    assert {p: p.stat().st_mtime_ns for p in made if p.name != "3.mp4"}.items() <= made.items()
    assert (out / "Train" / "run" / "3.mp4").is_file()
    assert len(list((out / ".tvl1" / "stride1").rglob("*.mkv"))) == 14
    assert len(open_set("folder", out, workers=0).videos) == 14
    assert main([*command[:5], "64"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_what_is_passed_over_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "set"
    write_video(root / "run" / "0.mp4", frames=6)
    (root / "run" / "d.GIF").write_bytes(b"x")
    prepare("folder", root, tmp_path / "out", Options(short_side=32), workers=0)
    shown = " ".join(capsys.readouterr().err.split())
    assert "1 files look like videos and are not read: run/d.GIF" in shown


def test_an_interrupted_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    for n in range(6):
        write_video(root / "run" / f"{n}.mp4", frames=6, seed=n)
    plain, calls = module.reencode, []

    def interrupted(source: Path, target: Path, *encoding: float | None) -> None:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(target)
        plain(source, target, *encoding)

    monkeypatch.setattr(module, "reencode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("folder", root, out, Options(short_side=48), workers=0)
    assert len(list(out.rglob("*.mp4"))) == 3 and not list(out.rglob("*.part"))
    monkeypatch.setattr(module, "reencode", lambda *job: calls.append(job[1]) or plain(*job))
    prepare("folder", root, out, Options(short_side=48), workers=0)
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.parametrize("options", [Options(short_side=48), Options(flow=True)])
def test_a_disk_that_is_full_ends_it_and_leaves_nothing(
    tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the videos, which are all left out otherwise."""

    def full(self: Path, target: Path) -> None:
        if target.suffix in (".mp4", ".mkv"):
            raise OSError(28, "No space left on device")
        os.replace(self, target)  # noqa: PTH105

    write_video(tmp_path / "root" / "run" / "0.mp4", frames=6)
    out = tmp_path / ("root" if options.flow else "out")
    monkeypatch.setattr(Path, "replace", full)
    with refused(r"cannot write .*/0\..*: No space left"):
        prepare("folder", tmp_path / "root", out, options, workers=0)
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.mkv"))


@pytest.mark.parametrize("stride", [1, 3])
def test_flow_files_hold_what_the_cache_computes(tmp_path: Path, stride: int) -> None:
    root = tmp_path / "set"
    opened = folder_of(root, 2, frames=7)
    clip = ClipSpec(size=48, crop=(48, 48), stride=stride)
    assert fields_beside(opened) == {}
    prepare("folder", root, root, Options(flow=True, flow_stride=stride), workers=0)
    made = fields_beside(opened)
    assert made == {f"stride{stride}": settings_here(stride)}
    # What lies there is taken by those who name it alone.
    computed = reader_of(opened, clip, "tvl1")
    clip = dataclasses.replace(clip, fields=made[f"stride{stride}"])
    kept = reader_of(opened, clip, "tvl1")
    assert isinstance(kept.source, FileFields) and computed.cache is not None
    for video in opened.videos:
        for indices in (range(7), [6], [2, 2, 5]):
            np.testing.assert_array_equal(
                kept.frames(video, indices), computed.frames(video, indices)
            )
    # At another size they are resized, and their motion with them.
    small = reader_of(opened, dataclasses.replace(clip, size=24, crop=(24, 24)), "tvl1")
    field = small.frames(opened.videos[0], [2])
    assert field.shape == (1, 24, 32, 2)
    whole = kept.frames(opened.videos[0], [2]).astype(float) - ZERO
    assert (field.astype(float) - ZERO).mean() == pytest.approx(whole.mean() / 2, abs=0.5)


def test_flow_files_are_made_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where they are damaged, of another video or lost; by another machine they are not."""
    root = tmp_path / "set"
    opened = folder_of(root, 2, frames=7)
    prepare("folder", root, root, Options(flow=True), workers=0)
    clip = ClipSpec(frames=4, size=48, crop=(48, 48), fields=settings_here(1))
    video = opened.part("test")[0]
    path = flow_file(root, video.path, 1)
    whole = path.read_bytes()

    def clips() -> Sample:
        return ClipDataset(opened, "test", clip, ("tvl1",))[0]

    expected = clips().inputs[0]
    middle = bytearray(whole)
    middle[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    for damage in (bytes(middle), whole[: len(whole) // 3], b"nothing"):
        path.write_bytes(damage)
        found = clips()
        assert torch.equal(found.inputs[0], expected) and not found.unread
        told = capfd.readouterr().err.replace("\n", "")
        assert str(path) in told and "made again" in told
        assert len(path.read_bytes()) == len(whole)
    path.write_bytes(b"nothing")
    prepare("folder", root, root, Options(flow=True), workers=0)
    assert len(path.read_bytes()) == len(whole)
    still = np.full((6, 48, 64, 2), ZERO, np.uint8)
    for made in (("another solver", video.content), (settings_here(1), "of another")):
        write_fields(path, still, *made)
        assert torch.equal(clips().inputs[0], expected)
    write_fields(path, still, "cuda, another solver", "of another")
    os.utime(path, (1, 1))
    clip = dataclasses.replace(clip, fields="cuda, another solver")
    with refused("1 of 4 files of TV-L1 fields"):
        clips()


def test_fields_of_a_copied_set_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the videos were copied after them."""
    opened = folder_of(tmp_path / "set", 2, frames=7)
    prepare("folder", opened.root, opened.root, Options(flow=True), workers=0)
    copy = shutil.copytree(opened.root, tmp_path / "copy")
    for video in opened.videos:
        os.utime(flow_file(copy, video.path, 1), (1, 1))
    clip = ClipSpec(frames=4, size=48, crop=(48, 48), fields=settings_here(1))
    expected = ClipDataset(opened, "test", clip, ("tvl1",))[0].inputs[0]
    monkeypatch.setattr("repflow_pl.data.fields.flow_files.make_fields", None)
    monkeypatch.setattr(module, "make_fields", None)
    copied = ClipDataset(open_set("folder", copy, workers=0), "test", clip, ("tvl1",))
    assert torch.equal(copied[0].inputs[0], expected)
    assert prepare("folder", copy, copy, Options(flow=True), workers=0) == (4, [])


def test_a_flow_file_says_what_it_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fields = rng.integers(1, 256, (5, 24, 32, 2), dtype=np.uint8)
    write_fields(tmp_path / "a.mkv", fields, "a test", "f0")
    np.testing.assert_array_equal(
        read_fields(tmp_path / "a.mkv", [4, 0, 3], "a test", "f0"), fields[[4, 0, 3]]
    )
    with av.open(str(tmp_path / "a.mkv")) as container:
        tag = {k.lower(): v for k, v in container.metadata.items()}["tvl1"]
    assert f'"bound_pixels": {BOUND}' in tag and f'"zero": {ZERO}' in tag


def test_mistakes(tmp_path: Path) -> None:
    write_video(tmp_path / "root" / "run" / "1.mp4")
    root, out = tmp_path / "root", tmp_path / "out"
    for source, target, options, says in (
        (tmp_path / "missing", out, Options(48), "there is no folder"),
        (root, out, Options(), "nothing to do"),
        (root, out, Options(flow=True), f"give {root} as OUT as well"),
        (root, root, Options(48), "choose a folder beside it"),
        (root, root / "small", Options(48), "choose a folder beside it"),
        (root, Path(f"{out}\udce9"), Options(48), r"out\\xe9 is not in UTF-8"),
    ):
        with refused(says):
            prepare("folder", source, target, options, workers=0)
    out.mkdir()
    (out / "prepared.json").write_text('{"set": "fol')
    with refused(r"prepared\.json is damaged"):
        prepare("folder", root, out, Options(48), workers=0)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"fps": 10.0}, "--fps needs --short-side"),
        ({"short_side": 0}, "--short-side 0 is too small"),
        ({"short_side": 48, "fps": -1.0}, "--fps -1.0 is too small"),
        ({"flow": True, "flow_stride": 0}, "--flow-stride 0 is too small"),
        ({"short_side": 48, "flow_stride": 2}, "--flow-stride is of --flow"),
    ],
)
def test_options_that_mean_nothing(option: dict[str, float], says: str) -> None:
    with refused(says):
        Options(**option)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Sources in the order in which they are re-encoded; here that only copies them."""
    sources: list[Path] = []

    def copy(source: Path, target: Path, *_: float | None) -> None:
        sources.append(source)
        if source.read_bytes() == layouts.BROKEN:
            raise OSError("cannot be read")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    monkeypatch.setattr(module, "reencode", copy)
    return sources


SMALL = Options(short_side=48)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("grouped", [False, True])
def test_a_prepared_folder_is_split_as_the_first_one_was(tmp_path: Path, grouped: bool) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    for n in range(60):
        path = root / "ab"[n % 2] / f"{n}{('.avi', '.MKV', '.mp4')[n % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if n % 7 else layouts.BROKEN)
    (root / "mirror_safe").touch()
    if grouped:
        names = [path.relative_to(root).as_posix() for path in root.rglob("*.*")]
        rows = [f"{name},{k // 3}" for k, name in enumerate(sorted(names))]
        (root / "groups.csv").write_text("\n".join(["path,group", *rows]))
    videos, failed = prepare("folder", root, out, SMALL, workers=0)
    assert (videos, len(failed)) == (60 - 9, 9)
    before = {Path(c.path).with_suffix(""): c.split for c in candidates_of("folder", root)}
    after = {Path(c.path).with_suffix(""): c.split for c in candidates_of("folder", out)}
    assert len(after) == videos and after.items() <= before.items()
    assert (out / "mirror_safe").is_file()


@pytest.mark.usefixtures("copied")
def test_lists_that_change_or_lie_beside_archives_come_along(tmp_path: Path) -> None:
    (tmp_path / "plain" / "run").mkdir(parents=True)
    (tmp_path / "plain" / "run" / "1.mp4").touch()
    (tmp_path / "plain" / "testlist01.txt").write_text("1")
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    pack(root / "videos.tar", tmp_path / "plain")
    for groups in ("path,group\nvideos/run/1.mp4,a", "path,group\nvideos/run/1.mp4,b"):
        (root / "groups.csv").write_text(groups)
        assert prepare("folder", root, out, SMALL, workers=0) == (1, [])
        assert (out / "groups.csv").read_text() == groups
    shutil.rmtree(out / module.UNPACKED)  # the room that large videos take
    assert (out / "videos" / "testlist01.txt").read_text() == "1"


def test_a_changed_video_is_made_again(tmp_path: Path, copied: list[Path]) -> None:
    root, out = tmp_path / "root", tmp_path / "out"
    (root / "run").mkdir(parents=True)
    for n in range(3):
        (root / "run" / f"{n}.avi").write_text(str(n))
    prepare("folder", root, out, SMALL, workers=0)
    (root / "run" / "1.avi").write_text("another")
    (root / "run" / "3.avi").write_text("new")
    prepare("folder", root, out, SMALL, workers=0)
    assert [path.stem for path in copied] == ["0", "1", "2", "1", "3"]
    assert (out / "run" / "1.mp4").read_text() == "another"


@pytest.mark.usefixtures("copied")
def test_two_files_never_become_one(tmp_path: Path) -> None:
    root = tmp_path / "root" / "run"
    root.mkdir(parents=True)
    for name in ("x.avi", "x.mp4", "y.mp4"):
        (root / name).write_text(name)
    with refused(r"run/x\.avi and run/x\.mp4 would both become"):
        prepare("folder", root.parent, tmp_path / "out", SMALL, workers=0)
    assert not list((tmp_path / "out").rglob("*.mp4"))
    for name in ("a.zip", "a.tar.gz"):
        (root / name).touch()
    with refused(r"a\.tar\.gz and a\.zip would both be unpacked"):
        unpack_all(root, tmp_path / "unpacked")


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("label", ["../../evil", "..", "a\0b"])
def test_no_list_leads_out_of_a_folder(tmp_path: Path, label: str) -> None:
    root, out = tmp_path / "deep" / "root", tmp_path / "other" / "out"
    for part in ("train", "val"):
        (root / part).mkdir(parents=True)
        rows = f'label,youtube_id,time_start,time_end\n"{label}",0123456789a,5,15\n'
        (root / f"{part}.csv").write_text(rows)
    for place in (tmp_path / "deep", tmp_path / "deep" / "evil", root):
        place.mkdir(exist_ok=True)
        (place / "0123456789a_000005_000015.mp4").touch()
    (root / "0123456789a_000005_000015.mp4").unlink()
    known = set(tmp_path.rglob("*.mp4"))
    for command in (
        lambda: prepare("kinetics400", root, out, SMALL, workers=0),
        lambda: open_set("kinetics400", root, workers=0),
    ):
        with refused("no path below the data set's folder|is damaged, line contains NUL"):
            command()
    assert set(tmp_path.rglob("*.mp4")) == known


@pytest.mark.usefixtures("copied")
def test_ut_interaction_may_be_prepared(tmp_path: Path) -> None:
    for label in ut_interaction.CLASSES:
        for k in (1, 2):
            path = tmp_path / "root" / label / f"set{k}_seq01_000.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    out = tmp_path / "out"
    assert prepare("ut_interaction", tmp_path / "root", out, SMALL, workers=0) == (12, [])
    parts = {(c.path[-17:], c.split) for c in candidates_of("ut_interaction", out)}
    assert parts == {("set1_seq01_000.mp4"[-17:], "train"), ("set2_seq01_000.mp4"[-17:], "test")}
