from pathlib import Path

import av
import numpy as np
import pytest

from repflow_pl.data.decoding.decode import probe, read_frames
from repflow_pl.data.decoding.decode_pyav import DecodeError

from ..conftest import write_video

CODECS = [("libx264", "mp4"), ("libx264", "mkv"), ("libx264", "mov"), ("mpeg4", "avi")]


@pytest.mark.parametrize(("codec", "suffix"), CODECS)
def test_same_frames_as_pyav(tmp_path: Path, codec: str, suffix: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", frames=30, codec=codec)
    with av.open(str(path)) as container:
        expected = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    frames = read_frames(path, range(30))
    assert frames.dtype == np.uint8
    # Two builds of FFmpeg may round colours differently by a step.
    assert np.abs(frames.astype(int) - expected).max() <= 2
    found = probe(path)
    assert (found.frames, found.height, found.width, found.fps) == (30, 48, 64, 10.0)


@pytest.mark.parametrize("name", ["a.wmv", "a.ts", "a.mpg", "a.mp4"])
def test_a_video_of_one_frame(tmp_path: Path, name: str) -> None:
    codec = {"a.wmv": "wmv2", "a.mpg": "mpeg2video"}.get(name, "libx264")
    assert probe(write_video(tmp_path / name, frames=1, codec=codec)).frames == 1


def test_a_video_whose_frames_change_their_size_is_named(tmp_path: Path) -> None:
    """As recorded calls do, and files that were appended to one another."""
    path = tmp_path / "call.ts"
    parts = [write_video(tmp_path / f"{k}.ts", size=(48, 32 * k)) for k in (2, 4)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(DecodeError, match=r"call\.ts: its frames change their size"):
        probe(path)


def broken_files(folder: Path) -> dict[str, Path]:
    """One file for each way in which files break."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = write_video(folder / "whole.mp4", frames=40).read_bytes()
    matroska = write_video(folder / "whole.mkv", frames=40, size=(128, 128)).read_bytes()
    avi = write_video(folder / "whole.avi", frames=40, codec="mpeg4").read_bytes()
    noise = np.random.default_rng(0).bytes(len(whole) // 4)
    at = len(whole) // 3
    contents = {
        "empty.mp4": b"",
        "text.mp4": b"this is no video\n",
        "cut.mp4": whole[: len(whole) // 2],
        "cut.mkv": matroska[: len(matroska) // 2],
        "cut.avi": avi[: len(avi) // 2],
        "noise.mp4": whole[:at] + noise + whole[at + len(noise) :],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_broken_files_are_named(tmp_path: Path) -> None:
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(DecodeError, match=name) as error:
            probe(path)
        assert "\n" not in str(error.value)
