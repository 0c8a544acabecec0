"""Small videos, written here, and a cache of their own for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from repflow_pl.data.frames.reader import Reader
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.data.sets.motion_shapes import CLASSES, Sizes, render
from repflow_pl.data.streams import open_streams
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, DataStream

SMALL = Sizes(train=32, val=16, test=16)


def write_video(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    seed: int = 0,
    codec: str = "libx264",
) -> Path:
    """A moving texture of `size` (height, width) at 10 frames per second."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    picture = coarse.repeat(8, 0).repeat(8, 1)
    return write_frames(path, [np.roll(picture, 2 * t, axis=1) for t in range(frames)], codec)


def write_frames(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of frames [height, width, 3] at 10 frames per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in map(np.ascontiguousarray, frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def folder_of(root: Path, clips: int, suffix: str = ".mp4", **video: Any) -> VideoSet:
    """ROOT/{train,test}/run/<n>, so many clips in each part, opened."""
    for part in ("train", "test"):
        for n in range(clips):
            write_video(root / part / "run" / f"{n}{suffix}", seed=n, **video)
    return open_set("folder", root, workers=0)


def reader_of(
    video_set: VideoSet, clip: ClipSpec, stream: DataStream = "rgb", kept: bool = True
) -> Reader:
    """A stream of a set's videos, made first where that was not done yet."""
    return open_streams(video_set, clip, [stream], kept)[stream]


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    """The message, after a check that it is one line that ends as a sentence does."""
    message = str(error.value)
    assert "\n" not in message and message.endswith(".")
    return message


@contextmanager
def refused(says: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """What is in it ends with one sentence, in which this is found."""
    with pytest.raises(kind, match=says) as error:
        yield
    one_sentence(error)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test, and no more processes than a test asks for."""
    place = tmp_path / "cache"
    monkeypatch.setenv("REPFLOW_CACHE", str(place))
    # A process takes longer to start than these few small files take to read.
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    return place


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> VideoSet:
    """A small motion_shapes: 32 training, 16 validation and 16 test videos."""
    root = tmp_path_factory.mktemp("shapes") / "root"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REPFLOW_CACHE", str(root.parent / "cache"))
        render(root, SMALL, workers=1)
        opened = open_set("motion_shapes", root, workers=0)
    assert set(opened.classes) == set(CLASSES)
    return opened


@pytest.fixture(scope="session")
def few(shapes: VideoSet) -> VideoSet:
    """Four of them, the first and the last among them, for what is done to each alike."""
    return replace(shapes, videos=shapes.videos[::21])


@pytest.fixture
def kept_cache(shapes: VideoSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache for all tests that only read: `shapes` is decoded once, and its TV-L1."""
    monkeypatch.setenv("REPFLOW_CACHE", str(shapes.root.parent / "cache"))


def shared(name: str) -> Path:
    """Real files, which are not part of the project."""
    beside = Path(__file__).parents[3] / "shared"
    place = Path(os.environ.get("REPFLOW_SHARED", beside)) / "data" / name
    if not place.exists():
        pytest.skip(f"needs data/{name} in the folder named by REPFLOW_SHARED")
    return place
