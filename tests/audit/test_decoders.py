"""Other decoders: what they show otherwise is named, whichever of them is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from repflow_pl.audit import decoders
from repflow_pl.audit.decoders import Disagreement, Reading, disagreements
from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.decoding.decode_pyav import DecodeError, Frame
from repflow_pl.data.index import Video
from repflow_pl.data.listing.manifest import content_of
from tests.data.odd_videos import write

FRAMES = 40
OTHERS = decoders.others


def ours(path: Path, indices: Sequence[int]) -> list[Frame | None]:
    return list(read_frames(path, indices, "read", "pyav"))


def a_frame_late(path: Path, indices: Sequence[int]) -> list[Frame | None]:
    return ours(path, [max(0, index - 1) for index in indices])


def ends_early(path: Path, indices: Sequence[int]) -> list[Frame | None]:
    return [*ours(path, indices)[:-1], None]


def fails(path: Path, indices: Sequence[int]) -> list[Frame | None]:
    raise DecodeError(f"{path}: damaged")


def halved(path: Path, indices: Sequence[int]) -> list[Frame | None]:
    return list(read_frames(path, indices, "read", "pyav")[:, ::2])


def darkened(path: Path, indices: Sequence[int]) -> list[Frame | None]:
    return list(read_frames(path, indices, "read", "pyav") // 3)


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Video:
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "a.mp4", FRAMES)
    size = path.stat().st_size
    return Video(path.name, 0, "train", FRAMES, 30.0, 64, 48, size, content=content_of(path))


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (a_frame_late, "shows frame 19 in the place of frame 20"),
        (ends_early, "has no frame 39"),
        (fails, "cannot read it: damaged"),
        (halved, "shows 64 x 24 pixels in the place of 64 x 48"),
        (darkened, "shows other colours: "),
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


def test_the_decoder_of_opencv_says_nothing_by_itself(tmp_path: Path) -> None:
    """It would fill the terminal, with lines for each frame of a codec that it lacks."""
    pytest.importorskip("cv2")
    path = tmp_path / "no.mp4"
    path.write_bytes(b"no video" * 100)
    asked = (
        "from pathlib import Path; from repflow_pl.audit import decoders;"
        f"print(decoders._by_opencv(Path({str(path)!r}), [0], 'read'))"
    )
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("[None]\n", "")
