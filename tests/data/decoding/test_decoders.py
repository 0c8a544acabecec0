"""Two decoders, one truth: the same index is the same frame, however it is reached."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from repflow_pl.data.decoding import decode
from repflow_pl.data.decoding.decode import Decoder, probe, read_frames
from repflow_pl.data.decoding.decode_pyav import DecodeError, Probe, open_video

from .. import odd_videos
from ..conftest import refused, shared, write_video

DECODERS = get_args(Decoder)

KINDS = {
    "plain.mp4": {},
    "plain.mov": {},
    "b_frames.mp4": {"b_frames": 3},
    "open_gop.mp4": {"b_frames": 3, "open_gop": True},
    "open_gop.mkv": {"b_frames": 3, "open_gop": True},
    "variable.mp4": {"variable": True, "b_frames": 2},
    "variable.mkv": {"variable": True},
    "b_frames.avi": {"b_frames": 2, "codec": "mpeg4"},
}
ACCESS = {"open_gop.mp4": "read", "open_gop.mkv": "read", "b_frames.avi": "read"}


LONG = 100
"""Frames of a video that is not read from its start again for every few of them."""


def agree(path: Path, found: Probe, clips: int = 8) -> np.ndarray:
    """Check that both decoders give the same frames in every way of asking; returns them all."""
    whole = range(found.frames)
    every = read_frames(path, whole, decoder="decord")
    rng = random.Random(0)
    some = [[found.frames - 1], [0]]
    some += [sorted(rng.choices(whole, k=4)) for _ in range(clips)]
    for decoder in DECODERS:
        for access in {"read", found.access}:
            few = found.frames > LONG and access == "read"
            for indices in ([0], *([whole] * (decoder == "pyav"))) if few else (whole, *some):
                frames = read_frames(path, indices, access, decoder)
                assert np.array_equal(frames, every[list(indices)]), (decoder, access, indices)
    return every


@pytest.mark.parametrize("kind", KINDS)
def test_odd_videos(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decode.VARIABLE, "decord")  # what it was tried on, PyAV reads as well
    path = odd_videos.write(tmp_path / kind, **KINDS[kind])
    found = probe(path)
    assert (found.frames, found.height, found.width) == (90, 48, 64)
    assert found.fps == pytest.approx(18.0 if "variable" in kind else 30.0, rel=0.01)
    assert found.access == ACCESS.get(kind, "seek")
    assert [odd_videos.number(frame) for frame in agree(path, found)] == list(range(90))


@pytest.mark.parametrize("name", ["sound_longer.mkv", "program_stream.mpg"])
def test_containers_whose_length_is_not_the_pictures(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole: 40 frames, with silent sound that goes on to 5 s; and in a program stream."""
    monkeypatch.setenv(decode.VARIABLE, "decord")
    path = Path(__file__).parents[1] / "cases" / name
    found = probe(path)
    assert (found.frames, found.fps, found.height, found.width) == (40, 25, 48, 64)
    assert len(agree(path, found)) == 40


LEFT_OUT = {
    "in the middle": range(40, 50),
    "here and there": [5, 6, 31, 58, 59, 60, 88],
    "at the end": range(80, 90),
}


@pytest.mark.parametrize("places", LEFT_OUT.values(), ids=LEFT_OUT)
@pytest.mark.parametrize("kind", [{"codec": "mjpeg"}, {"codec": "mpeg4", "gap": 1}])
def test_a_dropped_frame_shows_the_one_before_it(
    kind: dict, places: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(decode.VARIABLE, "decord")
    path = odd_videos.drop(odd_videos.write(tmp_path / "gaps.avi", **kind), places)
    found = probe(path)
    assert (found.frames, found.fps, found.access) == (90, 30, "read")
    shown = [max(k for k in range(place + 1) if k not in places) for place in range(90)]
    assert [odd_videos.number(frame) for frame in agree(path, found)] == shown
    for decoder in DECODERS:
        with pytest.raises(DecodeError, match="no frame 90"):
            read_frames(path, [90], decoder=decoder)


def test_before_the_first_picture_that_is_shown(tmp_path: Path) -> None:
    path = odd_videos.write(tmp_path / "late.avi", frames=20, codec="mjpeg")
    found = probe(odd_videos.drop(path, range(3)))
    assert [odd_videos.number(frame) for frame in agree(path, found)] == [
        *(3, 3, 3),
        *range(3, 20),
    ]


def test_a_film_with_dropped_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decode.VARIABLE, "decord")
    path = Path(__file__).parents[1] / "cases" / "dropped_frames.avi"
    found = probe(path)
    assert (found.frames, found.fps, found.height, found.width) == (40, 25, 48, 64)
    frames = agree(path, found)
    same = [place for place in range(1, 40) if (frames[place] == frames[place - 1]).all()]
    assert same == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_one_with_sound_that_was_cut_off_is_truncated(share: float, tmp_path: Path) -> None:
    whole = (Path(__file__).parents[1] / "cases" / "sound_longer.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: round(share * len(whole))])
    with pytest.raises(DecodeError, match="truncated"):
        probe(path)


def test_rotation_is_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decode.VARIABLE, "decord")
    upright = write_video(tmp_path / "upright.mp4", frames=20, size=(64, 96))
    turned = odd_videos.rotate(Path(shutil.copy(upright, tmp_path / "turned.mp4")))
    found = probe(turned)
    assert (found.height, found.width) == (96, 64)
    expected = np.rot90(read_frames(upright, range(20)), -1, axes=(1, 2))
    np.testing.assert_array_equal(agree(turned, found), expected)


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_a_cut_that_was_copied_is_whole(tmp_path: Path, ending: str, monkeypatch) -> None:
    """90 frames lie in it, of which 10 are shown."""
    monkeypatch.setenv(decode.VARIABLE, "decord")
    whole = odd_videos.write(tmp_path / "whole.mp4", gap=90, b_frames=2)
    path = odd_videos.cut(whole, tmp_path / f"cut.{ending}", 80)
    found = probe(path)
    assert (found.frames, found.fps) == (10, 30)
    assert [odd_videos.number(frame) for frame in agree(path, found)] == list(range(80, 90))


def test_a_cut_that_was_cut_off_is_truncated(tmp_path: Path) -> None:
    whole = odd_videos.write(tmp_path / "whole.mp4", gap=90)
    path = odd_videos.cut(whole, tmp_path / "cut.mp4", 40)
    with open_video(path) as video:
        places = [packet.pos for packet in video.container.demux(video.stream) if packet.size]
    path.write_bytes(path.read_bytes()[: places[70]])
    with pytest.raises(DecodeError, match="truncated, 30 of 50 frames"):
        probe(path)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
        ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
        ((0, 1, 1, 0), lambda frames: frames.swapaxes(1, 2)),
    ],
)
def test_what_is_filmed_as_in_a_mirror_is_shown_so(
    tmp_path: Path, matrix: Any, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write_video(tmp_path / "plain.mp4", frames=20, size=(64, 96))
    path = odd_videos.rotate(Path(shutil.copy(plain, tmp_path / "mirrored.mp4")), matrix)
    expected = shown(read_frames(plain, range(20)))
    np.testing.assert_array_equal(read_frames(path, range(20), probe(path).access), expected)
    monkeypatch.setenv(decode.VARIABLE, "decord")
    with pytest.raises(DecodeError, match="does not mirror it"):
        probe(path)


def test_a_video_that_decord_lays_out_wrongly_is_refused(tmp_path: Path, monkeypatch) -> None:
    narrow = odd_videos.rotate(odd_videos.write(tmp_path / "narrow.mp4", frames=20))
    monkeypatch.setenv(decode.VARIABLE, "decord")
    with pytest.raises(DecodeError, match="48 pixels wide; choose pyav"):
        probe(narrow)
    monkeypatch.setenv(decode.VARIABLE, "pyav")
    assert (probe(narrow).height, probe(narrow).width) == (64, 48)


@pytest.mark.parametrize("decoder", DECODERS)
def test_truncated_files(tmp_path: Path, decoder: Decoder, monkeypatch) -> None:
    monkeypatch.setenv(decode.VARIABLE, decoder)
    whole = odd_videos.write(tmp_path / "whole.mkv").read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match=r"cut\.mkv: truncated"):
        probe(path)
    # What is left of it is the same for both.
    frames = read_frames(path, range(20), decoder=decoder)
    assert [odd_videos.number(frame) for frame in frames] == list(range(20))
    with pytest.raises(DecodeError, match=r"whole\.mkv: no frame 90"):
        read_frames(tmp_path / "whole.mkv", [3, 90])


@pytest.mark.long
@pytest.mark.parametrize("decoder", DECODERS)
def test_real_files(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    fixtures = shared("decode_fixtures")
    monkeypatch.setenv(decode.VARIABLE, decoder)
    sizes = {
        "demo.mp4": (280, 256, 340),
        "flipping_a_pancake.mkv": (310, 240, 426),
        "part_0.mp4": (32, 256, 340),
        "test.avi": (164, 240, 320),
        "unordered.mov": (4, 50, 50),
        "video_0.mov": (3, 320, 568),
        "video_90.mov": (3, 568, 320),
    }
    for name, size in sizes.items():
        found = probe(fixtures / name)
        assert (found.frames, found.height, found.width) == size
        if decoder == "decord":
            agree(fixtures / name, found, clips=2)
    with pytest.raises(DecodeError, match=r"corrupted\.mp4: Invalid data"):
        probe(fixtures / "corrupted.mp4")


def test_the_choice_of_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(decode.VARIABLE, raising=False)
    assert decode.chosen_decoder() == "pyav"
    monkeypatch.setenv(decode.VARIABLE, "decord")
    assert decode.chosen_decoder() == "decord"
    monkeypatch.setenv(decode.VARIABLE, "ffmpeg")
    with refused("unknown decoder 'ffmpeg'"):
        read_frames(tmp_path / "a.mp4", [0])


def test_decord_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(decode.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "decord", None)  # as if it were not installed
    path = odd_videos.write(tmp_path / "a.mp4", frames=20)
    assert probe(path).frames == 20
    assert odd_videos.number(read_frames(path, [13])[0]) == 13
    monkeypatch.setenv(decode.VARIABLE, "decord")
    with refused("decord is not installed"):
        read_frames(path, [0])


RESIDENT = """
import sys
from pathlib import Path
from repflow_pl.data.decoding.decode import read_frames

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages

for k in range(int(sys.argv[2])):
    read_frames(Path(sys.argv[1]), [3, 5, 12], access="seek")
    if k == int(sys.argv[2]) // 10:
        first = resident()
print(first, resident())
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("opens", [400, pytest.param(5000, marks=pytest.mark.slow)])
def test_memory_does_not_grow(tmp_path: Path, decoder: Decoder, opens: int) -> None:
    path = write_video(tmp_path / "a.mp4", frames=14, size=(96, 128))
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, str(path), str(opens)],
        # one arena: others come as threads happen to meet, and are no growth
        env={**os.environ, decode.VARIABLE: decoder, "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    first, last = map(int, done.stdout.split())
    assert last <= 1.1 * first
