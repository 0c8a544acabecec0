"""Other decoders: what they show otherwise is named, whichever of them is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from repflow_pl.audit import decoders
from repflow_pl.audit.decoders import Disagreement, Reading, disagreements
from repflow_pl.data.decode import read_frames
from repflow_pl.data.decode_pyav import DecodeError, Frame
from repflow_pl.data.index import Video
from tests.data.odd_videos import write

FRAMES = 40
OTHERS = decoders.others


def ours(path: Path, index: int) -> Frame:
    return read_frames(path, [index], "read", "pyav")[0]


def a_frame_late(path: Path, index: int) -> Frame:
    return ours(path, max(0, index - 1))


def ends_early(path: Path, index: int) -> Frame:
    if index == FRAMES - 1:
        raise DecodeError("it ends before")
    return ours(path, index)


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Video:
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "a.mp4", FRAMES)
    return Video(path.name, 0, "train", FRAMES, 30.0, 64, 48, path.stat().st_size)


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (a_frame_late, "shows frame 19 in the place of frame 20"),
        (ends_early, "has no frame 39 of 40: it ends before"),
        (
            lambda path, index: ours(path, index)[::2],
            "shows 64 x 24 pixels in the place of 64 x 48",
        ),
        (lambda path, index: ours(path, index)[..., ::-1] // 3, "shows other colours: "),
        (ours, ""),
    ],
)
def test_what_is_shown_otherwise_is_named(
    reading: Reading, said: str, video: Video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "others", lambda: {"another": reading})
    tried, found = disagreements(tmp_path, [video], 0)
    assert tried == 1 and len(found) == bool(said)
    assert all(each.decoder == "another" and each.said.startswith(said) for each in found)
    monkeypatch.setattr(decoders, "compare", None)
    assert disagreements(tmp_path, [video], 0) == (tried, found), "it is kept"


def test_installed_decoders_show_the_same(video: Video, tmp_path: Path) -> None:
    found: tuple[Disagreement, ...] = ()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoders, "others", OTHERS)
        if not decoders.others():
            pytest.skip("needs decord or OpenCV")
        tried, found = disagreements(tmp_path, [video], 1)
    assert tried == 1 and not found
