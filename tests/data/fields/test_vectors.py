"""Motion vectors against videos made with known motion, and a loop over pixels."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.decoding import decode_pyav
from repflow_pl.data.decoding.decode_pyav import Access, DecodeError, open_video, probe
from repflow_pl.data.fields import vectors
from repflow_pl.data.fields.eight_bit import ZERO, to_pixels
from repflow_pl.data.fields.vector_fields import time_vectors, vector_fields
from repflow_pl.data.fields.vectors import (
    Picture,
    is_reference,
    motion_between,
    read_pictures,
    traced_back,
    turned,
)
from repflow_pl.data.frames.cache import open_frames
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.data.streams import open_streams
from repflow_pl.errors import Lacking
from repflow_pl.specs import ClipSpec
from tests.data.conftest import reader_of, refused, write_frames

FRAMES = 20
HEIGHT, WIDTH = 96, 128
P_ONLY = {"bf": "0", "refs": "1", "g": "7"}
"""As the videos of Wu et al.: I and P, each predicted from the frame before."""
FILES = {
    "defaults.mp4": ("libx264", {}),
    "pyramid.mkv": ("libx264", {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal"}),
    "start codes.h264": ("libx264", {"bf": "2"}),
    "p.mp4": ("libx264", P_ONLY),
    "p.avi": ("mpeg4", {"b:v": "4000000"}),
}
STEPS = [(2, 0), (-2, 0), (0, 4), (4, -2)]
"""(x, y), pixels a frame; even, as chroma has half of them, and whole in each reference."""


def texture(seed: int = 0) -> np.ndarray:
    """Blurred noise that goes on at the other side, [HEIGHT, WIDTH, 3]."""
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH, 3))
    for axis in (0, 1):
        noise = sum(np.roll(noise, k, axis) for k in range(-2, 3))
    low, high = noise.min(), noise.max()
    return (255 * (noise - low) / (high - low)).astype(np.uint8)


def write(
    path: Path,
    steps: list[tuple[int, int]],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A texture that moves by each of `steps` in turn, from frame to frame."""
    places = np.cumsum([(0, 0), *steps], axis=0).tolist()
    frames = [np.roll(texture(), (y, x), (0, 1)) for x, y in places]
    return write_frames(path, frames, codec, options)


def inner(motion: np.ndarray) -> np.ndarray:
    """The vectors that do not come in from beyond an edge, [n, 2]."""
    return motion[24:-24, 24:-24].reshape(-1, 2)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("stride", [1, 3])
def test_vectors_are_the_known_motion(
    name: str, step: tuple[int, int], stride: int, tmp_path: Path
) -> None:
    codec, options = FILES[name]
    path = write(tmp_path / name, [step] * (FRAMES - 1), codec, options)
    _, shown = read_pictures(path)
    assert len(shown) == FRAMES
    close = []
    for i, motion in enumerate(motion_between(shown, range(FRAMES), stride)):
        assert motion.shape == (HEIGHT, WIDTH, 2) and motion.dtype == np.float32
        moved = (min(i + stride, FRAMES - 1) - i) * np.array(step)
        assert np.abs(np.median(inner(motion), 0) - moved).max() <= 0.25
        close.append((np.abs(inner(motion) - moved).max(1) < 0.5).mean())
    assert np.mean(close) > 0.9


SOUGHT = {
    "defaults.mp4": ("libx264", {"g": "9"}),
    "pyramid.mkv": ("libx264", {"g": "9", "bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal"}),
    "open.mp4": ("libx264", {"g": "9", "bf": "2", "x264-params": "b-adapt=0:open-gop=1"}),
    "I P I.mp4": ("libx264", {"g": "2", "bf": "0"}),
    "b.avi": ("mpeg4", {"b:v": "4000000", "g": "9", "bf": "2"}),
}
"""Files with keyframes amid them."""


@pytest.mark.parametrize("name", SOUGHT)
def test_part_of_a_file_moves_as_in_the_whole(name: str, tmp_path: Path) -> None:
    codec, options = SOUGHT[name]
    steps = [STEPS[k % len(STEPS)] for k in range(2 * FRAMES)]
    path = write(tmp_path / name, steps, codec, options)
    found = probe(path)
    assert found.access == "seek"
    _, whole = read_pictures(path)
    for stride in (1, 3):
        expected = list(motion_between(whole, range(found.frames), stride))
        for first in range(found.frames):
            last = min(first + 4 + stride, found.frames - 1)
            start, shown = read_pictures(path, first, last, found.access)
            indices = range(first, min(first + 5, found.frames))
            moved = motion_between(shown, [index - start for index in indices], stride)
            for index, motion in zip(indices, moved, strict=True):
                np.testing.assert_array_equal(motion, expected[index], f"{index} from {first}")


def test_no_more_is_decoded_than_the_pixels_need(tmp_path: Path) -> None:
    path = write(tmp_path / "p.mp4", [(2, 0)] * 59, options={"bf": "3", "g": "10"})
    start, shown = read_pictures(path, 23, 27, "seek")
    assert start == 20 and len(shown) <= 10
    assert len(read_pictures(path, 23, 27, "read")[1]) == 60


def test_what_has_none_is_read_at_most_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "i.mp4", [(2, 0)] * 59, options={"g": "1"})
    opened = []
    monkeypatch.setattr(vectors, "open_video", lambda p: opened.append(p) or open_video(p))
    with pytest.raises(Lacking, match="holds no motion vectors"):
        read_pictures(path, 50, 55, "seek")
    assert len(opened) == 2


@pytest.mark.parametrize("access", ["read", "seek"])
def test_a_file_of_which_the_head_is_left(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "p.mp4"
    with av.open(str(path), "w", options={"movflags": "empty_moov+frag_keyframe"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(texture(), format="rgb24")))
        container.mux(stream.encode())
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moof") - 4])
    with pytest.raises(DecodeError, match="there is no frame in it"):
        read_pictures(path, 3, 5, access)


def test_these_files_hold_what_they_are_for(tmp_path: Path) -> None:
    """B-pictures that others are predicted from and others, and I-frames amid P-frames."""
    kinds = {}
    for name in ("pyramid.mkv", "p.mp4"):
        path = write(tmp_path / name, [(2, 0)] * (FRAMES - 1), *FILES[name])
        _, shown = read_pictures(path)
        order = [picture.decoded for picture in shown]
        early = [p for k, p in enumerate(shown) if p.decoded > min(order[k:])]
        kinds[name] = (
            sum(picture.vectors is None for picture in shown),
            {picture.reference for picture in early},
        )
    assert kinds == {"pyramid.mkv": (1, {True, False}), "p.mp4": (3, set())}


@pytest.mark.parametrize("name", ["defaults.mp4", "pyramid.mkv", "start codes.h264"])
def test_references_are_the_pictures_that_the_decoder_cannot_skip(
    name: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, [(2, 0)] * (FRAMES - 1), *FILES[name])
    with open_video(path) as video:
        video.stream.codec_context.skip_frame = "NONREF"
        kept = sum(1 for _ in video.frames())
    _, shown = read_pictures(path)
    assert kept == sum(picture.reference for picture in shown) < FRAMES


def test_a_unit_that_is_no_picture_tells_nothing() -> None:
    assert is_reference(b"\0\0\1\x09\xf0\0\0\1\x41\x9a", None), "access unit, then a P slice"
    assert not is_reference(b"\0\0\1\x06\x05\0\0\0\1\x01\x9a", None), "SEI, then one of no use"
    lengths = bytes([1, 66, 0, 30, 0xFF])  # of 4 bytes each
    assert not is_reference(b"\0\0\0\2\x06\x05\0\0\0\2\x01\x9a", lengths)


def test_an_i_frame_moves_as_the_frame_before(tmp_path: Path) -> None:
    steps = [(2, 0), (2, 0), (0, 2), (0, 2), (0, 2), (-2, 0), (4, 0), (2, 0)]
    _, shown = read_pictures(write(tmp_path / "p.mp4", steps, options=P_ONLY))
    assert [k for k, picture in enumerate(shown) if picture.vectors is None] == [0, 7]
    fields = list(motion_between(shown, range(8), 1))
    assert np.median(inner(fields[5]), 0).tolist() == [-2, 0]
    np.testing.assert_array_equal(fields[6], fields[5])  # to the I-frame
    assert np.median(inner(fields[7]), 0).tolist() == [2, 0]


def test_traced_back_is_equation_1_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    steps = [rng.uniform(-3, 3, (6, 7, 2)).astype(np.float32) for _ in range(3)]
    found = traced_back(steps)
    for row in range(6):
        for column in range(7):
            x, y = float(column), float(row)
            for step in (steps[2], steps[1], steps[0]):
                at = (min(max(round(y), 0), 5), min(max(round(x), 0), 6))
                x, y = x - float(step[at][0]), y - float(step[at][1])
            np.testing.assert_allclose(found[row, column], (column - x, row - y), atol=1e-5)


def picture(decoded: int, reference: bool, *vectors: tuple[int, ...]) -> Picture:
    """16 x 24 pixels (height x width); vectors as of `Vectors`."""
    return Picture(decoded, reference, 16, 24, 0, False, np.array(vectors) if vectors else None)


def test_vectors_count_by_the_time_to_what_they_lead_to() -> None:
    """I B B P as displayed; the first B is predicted from both ends, the second from the first."""
    shown = [
        picture(0, True),
        # 8 x 8 at the left top: 1.5 pixels back to I, 3 ahead to P; beside it ahead alone
        picture(
            2,
            True,
            (-1, 8, 8, 4, 4, -6, 0, 4),
            (1, 8, 8, 4, 4, 12, 0, 4),
            (1, 8, 8, 12, 4, 0, 8, 4),
        ),
        picture(3, False, (-1, 16, 16, 8, 8, 0, -4, 4)),
        picture(1, True, (-1, 16, 16, 8, 8, -24, 0, 4), (-1, 16, 16, 24, 8, -12, 12, 4)),
    ]
    first, second, third = motion_between(shown, [0, 1, 2], 1)
    assert first[3, 3].tolist() == [1.5, 0] and first[3, 12].tolist() == [0, 1]
    assert first[12, 3].tolist() == [0, 0] == first[3, 20].tolist()
    assert second[9, 9].tolist() == [0, 1] and not second[:, 16:].any()
    assert third[0, 0].tolist() == [2, 0] and third[15, 23].tolist() == [1, -1]


def test_a_frame_that_is_shown_on_does_not_move() -> None:
    first, second = picture(0, True), picture(1, True, (-1, 16, 16, 8, 8, -8, 0, 4))
    held, moved = motion_between([first, first, second], [0, 1], 1)
    assert not held.any() and moved[0, 0].tolist() == [2, 0]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_motion_of_turned_pictures(turns: int, mirrored: bool) -> None:
    """A point's places before and after, in pictures that are turned as numpy turns them."""
    before, after, motion = np.zeros((5, 7)), np.zeros((5, 7)), np.zeros((5, 7, 2), np.float32)
    before[1, 2], after[4, 3], motion[4, 3] = 1, 1, (1, 3)
    rows = slice(None, None, -1 if mirrored else 1)
    ends = [np.argwhere(np.rot90(frame[rows], turns))[0] for frame in (before, after)]
    (y, x), found = ends[1], turned(motion, turns, mirrored)
    assert found[y, x].tolist() == (ends[1] - ends[0])[::-1].tolist()


def folder(root: Path, **options: str) -> VideoSet:
    """Two classes of two videos each way, in the parts that training needs."""
    for part in ("train", "test"):
        for label, step in (("left", (-4, 0)), ("down", (0, 4))):
            write(root / part / label / "0.mp4", [step] * (FRAMES - 1), options=options)
    return open_set("folder", root, workers=0)


def test_fields_are_those_of_the_prepared_frames(tmp_path: Path) -> None:
    """Cropped, half as wide and a quarter as high: things move half and a quarter as far."""
    videos = folder(tmp_path)
    clip = ClipSpec(source_crop=(64, 96), size=(16, 48), crop=(16, 48))
    reader, frames = reader_of(videos, clip, "vectors"), reader_of(videos, clip)
    for video in videos.part("test"):
        fields = reader.frames(video, range(FRAMES))
        assert fields.shape == (*frames.frames(video, range(FRAMES)).shape[:3], 2)
        expected = (-2, 0) if "left" in video.path else (0, 1)
        assert np.median(to_pixels(fields[:-1, 4:-4, 8:-8]).reshape(-1, 2), 0).tolist() == list(
            expected
        )
        assert (fields[-1] == ZERO).all(), "the last frame goes nowhere"


def test_they_are_made_once_for_each_stride(tmp_path: Path, cache: Path) -> None:
    videos = folder(tmp_path)
    clip = ClipSpec(frames=4, stride=2, size=96, crop=(32, 32))
    sample = ClipDataset(videos, "train", clip, ("rgb", "vectors"))[0]
    assert [tuple(s.shape) for s in sample.inputs] == [(2, 3, 4, 32, 32), (2, 2, 3, 32, 32)]
    (file,) = (cache / "vectors").iterdir()
    written = file.stat().st_mtime_ns
    reader_of(videos, clip, "vectors")
    assert file.stat().st_mtime_ns == written
    once = reader_of(videos, ClipSpec(size=96), "vectors")
    fresh = reader_of(videos, ClipSpec(size=96), "vectors", kept=False)
    assert len(list((cache / "vectors").iterdir())) == 2
    video = videos.part("train")[0]
    twice = reader_of(videos, clip, "vectors")
    fields = [to_pixels(reader.frames(video, [6])[0, 8:-8, 8:-8]) for reader in (once, twice)]
    moved = [np.median(field, (0, 1)) for field in fields]
    np.testing.assert_allclose(moved[1], 2 * moved[0], atol=0.2)
    np.testing.assert_array_equal(fresh.frames(video, [6, 2]), once.frames(video, [6, 2]))


@pytest.mark.parametrize("name", SOUGHT)
def test_frames_and_vectors_are_made_of_one_decoding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, options = SOUGHT[name]
    for part in ("train", "test"):
        path = tmp_path / "videos" / part / "run" / name
        write(path, STEPS * 5, codec, options)
    videos = open_set("folder", tmp_path / "videos", workers=0)
    clip = ClipSpec(frames=4, stride=2, size=48, crop=(32, 32))
    apart = [reader_of(videos, clip, stream) for stream in ("rgb", "vectors")]
    expected = [[r.frames(v, range(v.frames)) for r in apart] for v in videos.videos]
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    opened = []
    for module in (vectors, decode_pyav):
        monkeypatch.setattr(module, "open_video", lambda p: opened.append(p) or open_video(p))
    together = open_streams(videos, clip, ("rgb", "vectors")).values()
    assert sorted(opened) == sorted(videos.root / video.path for video in videos.videos)
    for video, arrays in zip(videos.videos, expected, strict=True):
        for reader, array in zip(together, arrays, strict=True):
            assert reader.left(videos) == []
            np.testing.assert_array_equal(reader.frames(video, range(video.frames)), array)


def test_frames_are_kept_where_a_file_holds_no_vectors(tmp_path: Path) -> None:
    videos = folder(tmp_path / "videos", g="1")
    clip = ClipSpec(frames=4)
    with refused(r"\.mp4 holds no motion vectors: its frames", Lacking):
        open_streams(videos, clip, ("rgb", "vectors"))
    assert open_frames(videos, clip).left(videos) == []


def test_a_video_that_cannot_be_read_is_left_out_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = folder(tmp_path / "videos")
    lost, *others = videos.videos
    (videos.root / lost.path).write_bytes(b"no video")
    for reader in open_streams(videos, ClipSpec(frames=4), ("rgb", "vectors")).values():
        assert reader.left(videos) == [lost] and others
    told = " ".join(capsys.readouterr().err.split())
    assert told.count(f"{lost.path}: not in the cache") == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_without_vectors_is_refused_by_name(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = folder(tmp_path / "videos", g="1")
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: workers)
    with refused(r"\.mp4 holds no motion vectors: its frames", Lacking):
        reader_of(videos, ClipSpec(), "vectors")
    with pytest.raises(Lacking, match=r"all\.avi holds no motion vectors"):
        read_pictures(write(tmp_path / "all.avi", [(2, 0)] * 3, "mjpeg", {"strict": "-1"}))


def test_timing(tmp_path: Path) -> None:
    path = write(tmp_path / "p.mp4", [(2, 0)] * (FRAMES - 1))
    clip = ClipSpec()
    assert vector_fields(read_pictures(path)[1], range(3), clip).shape == (3, 64, 85, 2)
    times = time_vectors(path, range(3), clip, repeats=4)
    assert len(times) == 4 and all(ms > 0 for ms in times)
