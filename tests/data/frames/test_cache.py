import cProfile
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as transforms

import repflow_pl.data.frames.reader as reader_module
from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.decoding.isolated import IsolatedProcess, Lost
from repflow_pl.data.frames import cache as frames_cache
from repflow_pl.data.frames import room
from repflow_pl.data.frames.cache import (
    DecodedFrames,
    crop_source,
    prepared_shape,
    resize,
    resized_shape,
    seconds_to_decode,
)
from repflow_pl.data.frames.flat import NONE, FlatArrays
from repflow_pl.data.index import Video, VideoSet, open_set
from repflow_pl.files import cache_dir
from repflow_pl.specs import ClipSpec, DataStream, low_res

from .. import layouts
from ..conftest import folder_of, reader_of, refused, write_video

CLIPS = [
    ClipSpec(),
    ClipSpec(size=32),
    ClipSpec(size=80),
    ClipSpec(size=(20, 40)),
    ClipSpec(source_crop=(48, 40), size=(24, 20)),
]

ONE, OTHER = bytes(7) + b"1", b"12345678"
"""Stamps."""


@pytest.fixture(scope="module")
def decoding() -> Iterator[IsolatedProcess]:
    """One process for all readers that decode: it imports torch to make frames smaller."""
    process = IsolatedProcess(60.0)
    yield process
    process.stop()


@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_mapped_frames_are_the_decoded_ones(
    few: VideoSet, clip: ClipSpec, decoding: IsolatedProcess
) -> None:
    mapped = reader_of(few, clip)
    decoded = reader_of(few, clip, kept=False)
    assert mapped.cache is not None and decoded.cache is None
    decoded.process = decoding
    for video in (few.videos[0], few.videos[-1]):
        indices = [3, 0, video.frames - 1, 3]
        frames = mapped.frames(video, indices)
        assert frames.shape == (4, *prepared_shape(video, clip), 3) and frames.dtype == np.uint8
        np.testing.assert_array_equal(frames, decoded.frames(video, indices))


def test_untouched_frames_are_the_files_own(few: VideoSet) -> None:
    video = few.videos[1]
    expected = read_frames(few.root / video.path, [1, 2])
    np.testing.assert_array_equal(reader_of(few, ClipSpec()).frames(video, [1, 2]), expected)


@pytest.mark.parametrize("size", [20, (27, 61), 80, (90, 13)], ids=str)
@pytest.mark.parametrize("frames", [1, 2])
def test_the_preparation_is_torchvisions(size: int | tuple[int, int], frames: int) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (frames, 60, 80, 3), dtype=np.uint8)
    pixels = torch.from_numpy(whole).permute(0, 3, 1, 2)
    cropped = transforms.center_crop(pixels, [40, 50])
    expected = transforms.resize(cropped, size, antialias=True).permute(0, 2, 3, 1)
    clip = ClipSpec(source_crop=(40, 50), size=size)
    found = resize(crop_source(whole, clip), resized_shape(40, 50, clip))
    assert found.dtype == np.uint8 and found.shape == expected.shape
    np.testing.assert_allclose(found.astype(int), expected.numpy().astype(int), rtol=0, atol=1)


PIXELS = """
import hashlib, torch
from repflow_pl.data.frames.cache import resized
noise = torch.randint(0, 256, (1, 3, 60, 80), dtype=torch.uint8, generator=torch.manual_seed(0))
for size in ((24, 32), (90, 99)):
    print(hashlib.sha256(resized(noise, size).numpy()).hexdigest())
"""


@pytest.mark.long
def test_pixels_are_the_same_on_every_processor(capsys: pytest.CaptureFixture[str]) -> None:
    """torch's own code for a processor without AVX is asked for beside that for this one."""
    plain = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    told = subprocess.run([sys.executable, "-c", PIXELS], env=plain, stdout=subprocess.PIPE)
    exec(PIXELS, {})
    assert capsys.readouterr().out == told.stdout.decode()


def test_the_file_is_made_once_and_shared(few: VideoSet, cache: Path) -> None:
    reader_of(few, ClipSpec(frames=8))
    (file,) = (cache / "frames").iterdir()
    written = file.stat().st_mtime_ns
    reader_of(few, ClipSpec(frames=4, crop=(8, 8)))
    assert file.stat().st_mtime_ns == written
    reader_of(few, ClipSpec(size=32))
    assert len(list((cache / "frames").iterdir())) == 2


@pytest.mark.parametrize(
    "memory, disk, reading, kept",
    [
        (1e9, 1e9, 1e9, True),  # in memory: how fast the disk is does not matter
        (1e9, 1e5, 0.0, False),  # no disk to lay it out on
        (1e5, 1e9, 0.0, True),  # read faster than decoded
        (1e5, 1e9, 1e9, False),
    ],
)
def test_frames_are_kept_where_that_pays_off(
    few: VideoSet,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    memory: float,
    disk: float,
    reading: float,
    kept: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(room, "memory", lambda: memory)
    monkeypatch.setattr(room, "free_disk", lambda folder: disk)
    monkeypatch.setattr(room, "seconds_to_read", lambda folder, size: reading)
    assert (reader_of(few, ClipSpec(frames=8)).cache is not None) is kept
    assert " GB " not in capsys.readouterr().err
    monkeypatch.setattr(room, "free_disk", lambda folder: 0)
    again = reader_of(few, ClipSpec(frames=8)).cache is not None
    assert again is kept, "what was laid out has its place"


def test_whether_to_keep_frames_is_tried_once(
    few: VideoSet, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "memory", lambda: 0)
    for seconds in (1e9, 0.0):  # a disk that was busy, and is not now
        monkeypatch.setattr(room, "seconds_to_read", lambda folder, size, s=seconds: s)
        assert reader_of(few, ClipSpec(frames=8)).cache is None
    (tried,) = (cache / "frames").glob("*.json")
    tried.unlink()
    assert reader_of(few, ClipSpec(frames=8)).cache is not None


def test_much_disk_is_not_taken_without_a_word(
    few: VideoSet, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(frames_cache, "TOLD", 1e5)
    for told in (True, False):
        reader_of(few, ClipSpec(frames=8))
        said = "".join(capsys.readouterr().err.split())  # wrapped anywhere
        assert (f"GBofframesarekeptin{cache / 'frames'};" in said) is told


def test_a_broken_clip_takes_no_time(shapes: VideoSet, tmp_path: Path) -> None:
    whole = DecodedFrames(shapes.root, ClipSpec(frames=8))
    assert 0 < seconds_to_decode(whole, shapes.videos) < 10
    assert seconds_to_decode(DecodedFrames(tmp_path, ClipSpec()), shapes.videos) == float("inf")


def test_the_machine_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = room.memory()
    assert 0 < whole < 2**50 and 0 < room.free_disk(tmp_path / "not" / "there") < 2**60
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(room, "LIMITS", (str(limit), str(tmp_path / "absent")))
    for text, expected in (("max\n", True), ("4096\n", False)):
        limit.write_text(text)
        assert (room.memory() > 4096) is expected
    assert 0 < room.seconds_to_read(tmp_path / "new", 10_000) < 10


def test_splits_of_the_same_videos_share_it(tmp_path: Path, cache: Path) -> None:
    layouts.ucf101_files(tmp_path / "set", ("YoYo", "Archery"), (1, 8, 15))
    sets = [open_set("ucf101", tmp_path / "set", workers=0, fold=k) for k in (1, 2, 3)]
    readers = [reader_of(each, ClipSpec(size=32)) for each in sets]
    assert len(list((cache / "frames").iterdir())) == 1
    for opened, reader in zip(sets, readers, strict=True):
        for video in opened.videos:
            alone = DecodedFrames(opened.root, ClipSpec(size=32)).frames(video, [2])
            np.testing.assert_array_equal(reader.frames(video, [2]), alone)


def test_sizes_may_differ_from_video_to_video(tmp_path: Path) -> None:
    for i in range(4):
        part = "train" if i < 3 else "test"
        write_video(tmp_path / "set" / part / "run" / f"{i}.mp4", size=(48, 64 + 16 * i))
    opened = open_set("folder", tmp_path / "set", workers=0)
    frames = reader_of(opened, ClipSpec(size=24))
    for video in opened.videos:
        assert frames.frames(video, [0]).shape == (1, 24, video.width // 2, 3)


def test_a_file_knows_what_it_holds(tmp_path: Path) -> None:
    arrays = FlatArrays.at(tmp_path / "a.u8", {"a": (2, 3), "b": (4,)})
    with pytest.raises(ValueError, match="expected uint8"):
        arrays.write("a", np.zeros((2, 4), np.uint8), ONE)
    assert arrays.stamp("a") == NONE and list(tmp_path.iterdir()) == []
    arrays.write("b", np.full(4, 9, np.uint8), ONE)
    assert arrays.stamp("b") == ONE and arrays.stamp("a") == NONE
    arrays.write("a", np.arange(6, dtype=np.uint8).reshape(2, 3), ONE)
    assert arrays.stamp("a") == arrays.stamp("b") == ONE
    assert arrays.read("a", [1]).tolist() == [[3, 4, 5]]
    assert arrays.read("b", [0, 3]).tolist() == [9, 9]
    for cut in (b"short", bytes(arrays.nbytes)):  # the second as an earlier version left it
        arrays.path.write_bytes(cut)
        assert arrays.stamp("a") == arrays.stamp("b") == NONE
        arrays.write("b", np.full(4, 7, np.uint8), ONE)
        assert arrays.stamp("a") == NONE and arrays.read("b", [0]).tolist() == [7]
    arrays.write("a", np.zeros((2, 3), np.uint8), OTHER)
    assert arrays.stamp("a") == OTHER and arrays.stamp("b") == ONE


def test_an_array_is_written_in_the_same_time_beside_many_others(tmp_path: Path) -> None:
    """Counted in what is called, so that filling a cache grows with the videos and no faster."""

    def calls(arrays: int) -> int:
        flat = FlatArrays.at(tmp_path / f"{arrays}.u8", {str(k): (2, 2) for k in range(arrays)})
        profile = cProfile.Profile()
        profile.runcall(flat.write, "1", np.ones((2, 2), np.uint8), ONE)
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(1000) == calls(10)


@pytest.mark.parametrize("stream", ["rgb", "tvl1"])
@pytest.mark.parametrize("why", ["lost", "damaged"])
def test_what_was_lost_while_the_cache_was_filled_is_read_again(
    tmp_path: Path, stream: DataStream, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = folder_of(tmp_path / "set", 4, frames=6)
    clip = ClipSpec(frames=4, size=48, crop=(48, 48))
    expected = ClipDataset(opened, "test", clip, (stream,))[1].inputs[0]
    shutil.rmtree(cache_dir() / ("frames" if stream == "rgb" else "tvl1"))
    path = opened.root / opened.part("test")[1].path
    whole = path.read_bytes()
    if why == "damaged":
        path.write_bytes(b"nothing")
    else:
        plain = reader_module.isolated_map
        monkeypatch.setattr(
            reader_module,
            "isolated_map",
            lambda function, jobs, *more, **named: (
                (job, Lost("no memory") if opened.root / job.path == path else found)
                for job, found in plain(function, jobs, *more, **named)
            ),
        )
    first = ClipDataset(opened, "test", clip, (stream,))
    monkeypatch.undo()
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    if why == "damaged":
        sample = first[1]
        assert sample.unread and len(sample.inputs[0].unique()) == 1
        assert not first[0].unread
        path.write_bytes(whole)
    cache = first.readers[stream].cache
    assert cache is not None
    held = {video.path: cache.stamp(video.path) != NONE for video in opened.videos}
    assert [path for path, there in held.items() if not there] == [opened.part("test")[1].path]
    # It is decoded where the cache does not have it, and is in it from the next opening on.
    assert torch.equal(first[1].inputs[0], expected) and not first[1].unread
    again = ClipDataset(opened, "test", clip, (stream,))
    assert all(cache.stamp(video.path) != NONE for video in opened.videos)
    assert torch.equal(again[1].inputs[0], expected) and not again[1].unread


@pytest.mark.parametrize("stream", ["rgb", "tvl1"])
def test_a_video_that_was_replaced_is_read_again(tmp_path: Path, stream: DataStream) -> None:
    """By one of as many bytes and frames, so that no list of the set's files tells it."""
    root = tmp_path / "set"
    clip = ClipSpec(frames=4, size=48, crop=(48, 48))
    first = folder_of(root, 3, ".avi", frames=6, codec="rawvideo")
    before = ClipDataset(first, "test", clip, (stream,))
    old = [before[k].inputs[0] for k in range(3)]
    path = root / "test" / "run" / "1.avi"
    size = path.stat().st_size
    write_video(path, frames=6, seed=9, codec="rawvideo")
    assert path.stat().st_size == size
    opened = open_set("folder", root, workers=0)
    after = ClipDataset(opened, "test", clip, (stream,))
    fresh = ClipDataset(opened, "test", clip, (stream,), kept=False)
    assert torch.equal(after[1].inputs[0], fresh[1].inputs[0])
    assert not torch.equal(after[1].inputs[0], old[1])
    assert all(torch.equal(after[k].inputs[0], old[k]) for k in (0, 2))
    # What cannot be made of the new file is not what was made of the old one.
    path.write_bytes(bytes(size))
    videos = tuple(replace(video, content=OTHER.hex()) for video in opened.videos)
    assert ClipDataset(replace(opened, videos=videos), "test", clip, (stream,))[1].unread


@pytest.mark.parametrize("stream", ["rgb", "tvl1"])
@pytest.mark.parametrize("seconds", [0, -1, 1])
def test_copies_of_a_set_share_what_is_kept(
    tmp_path: Path, stream: DataStream, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though their files have other times, or none, as in archives that are the same whenever they
    are made."""
    clip = ClipSpec(frames=4, size=48, crop=(48, 48))
    first = folder_of(tmp_path / "set", 2, frames=6)
    expected = ClipDataset(first, "test", clip, (stream,))[0].inputs[0]
    shutil.copytree(first.root, tmp_path / "copy" / "set")
    for video in first.videos:
        os.utime(tmp_path / "copy" / "set" / video.path, (seconds, seconds))
    second = open_set("folder", tmp_path / "copy" / "set", workers=0)

    def nothing_to_do(work: object, jobs: list[object], *_: object, **__: object) -> list[object]:
        assert not jobs
        return jobs

    monkeypatch.setattr(reader_module, "isolated_map", nothing_to_do)
    for opened in (second, first):
        assert torch.equal(ClipDataset(opened, "test", clip, (stream,))[0].inputs[0], expected)


def test_a_copy_with_another_video_is_not_read_by_who_opened_the_first(tmp_path: Path) -> None:
    """Both have the file of the cache open, as two trainings at once."""
    clip = ClipSpec(frames=4, size=48, crop=(48, 48))
    first = ClipDataset(
        folder_of(tmp_path / "set", 1, ".avi", frames=6, codec="rawvideo"), "test", clip
    )
    expected = first[0].inputs[0]
    copy = Path(shutil.copytree(tmp_path / "set", tmp_path / "copy"))
    write_video(copy / "test" / "run" / "0.avi", frames=6, seed=9, codec="rawvideo")
    second = ClipDataset(open_set("folder", copy, workers=0), "test", clip)
    assert not torch.equal(second[0].inputs[0], expected)
    assert torch.equal(first[0].inputs[0], expected)


@pytest.mark.long
def test_a_video_smaller_than_the_source_crop_is_refused() -> None:
    video = Video("run/1.mp4", 0, "train", 10, 10.0, width=64, height=48, bytes=1)
    with refused(r"run/1\.mp4 is 48 x 64"):
        prepared_shape(video, ClipSpec(source_crop=(50, 50)))


@pytest.mark.long
def test_half_of_the_files_frames() -> None:
    def shape(height: int, width: int, clip: ClipSpec) -> tuple[int, int]:
        return prepared_shape(Video("a.avi", 0, "train", 9, 30.0, width, height, 1), clip)

    clip = low_res(ClipSpec())
    assert shape(240, 320, clip) == (120, 160)
    # Half of a narrow film is less than the crop, which the frames then just hold.
    assert shape(240, 176, clip) == (153, 112)
    assert shape(120, 112, clip) == (120, 112)
    # One that is smaller than the crop stays as it is, for `check_clip` to refuse.
    assert shape(64, 80, clip) == (64, 80)
    frames = np.random.default_rng(0).integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    expected = transforms.resize(pixels, [120, 160], antialias=True).permute(0, 2, 3, 1)
    found = resize(frames, shape(240, 320, clip))
    np.testing.assert_allclose(found.astype(int), expected.numpy().astype(int), rtol=0, atol=1)
