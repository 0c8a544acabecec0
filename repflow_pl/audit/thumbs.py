"""A few small grey pictures of each video, spread over its length, kept for the next audit."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repflow_pl.audit.resample import resample
from repflow_pl.data.decoding.decode_pyav import (
    DecodeError,
    OpenVideo,
    open_video,
    reason_of,
    upright,
)
from repflow_pl.data.decoding.isolated import isolated_map
from repflow_pl.data.index import Video
from repflow_pl.files import atomic_write, cache_dir

HEIGHT, WIDTH = 48, 64
"""Of a picture, whatever the video's shape."""
FEWEST, MOST = 12, 60
EVERY = 0.5
"""Seconds from one picture to the next of a longer video, until there are MOST."""
VERSION = 1
"""Of how pictures are taken: raise it with every change, and all are taken anew."""
WIDEST = 256
"""Pixels of a frame in which bars are looked for."""
DARK = 36
"""Grey levels of a black bar or less; video's black is 16, and coding smears it."""
MOST_BAR = 0.35
"""Of a side may be a bar: what is darker is a dark film."""

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Thumbs:
    """Of one video."""

    seconds: npt.NDArray[np.float32]
    """[n]: when each is shown."""
    pictures: Pictures
    """[n, HEIGHT, WIDTH]: grey, without black bars."""
    after: Pictures
    """The same, of the frames that come next."""


@dataclass(frozen=True)
class Job:
    """A video that is looked at."""

    root: Path
    video: Video
    kept: Path
    """The file for what is found in it."""

    @property
    def path(self) -> Path:
        """Of the video."""
        return self.root / self.video.path


def jobs_of(root: Path, videos: Sequence[Video], suffix: str) -> list[Job]:
    """The videos in a folder, each with a file in the user's cache, named after its content."""
    folder = cache_dir() / "audit" / f"v{VERSION}"
    return [Job(root, video, folder / f"{video.content}{suffix}") for video in videos]


def thumbs_of(
    root: Path, videos: Sequence[Video], workers: int | None = None
) -> dict[str, Thumbs | str]:
    """The pictures of each video by its path, or why there are none.

    What an earlier audit took of the same bytes is read again, also where it was killed.
    """
    jobs = jobs_of(root, videos, ".npz")
    found: dict[str, Thumbs | str] = {
        job.video.path: kept for job in jobs if (kept := read(job)) is not None
    }
    todo = [job for job in jobs if job.video.path not in found]
    for job, failed in isolated_map(take, todo, "Looking at the videos", workers):
        found[job.video.path] = reason_of(failed, job.path) if failed else read(job) or "not kept"
    return found


def read(job: Job) -> Thumbs | None:
    """The pictures that are kept, if there are any."""
    try:
        with np.load(job.kept) as kept:
            return Thumbs(kept["seconds"], kept["pictures"], kept["after"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: taken again


def take(job: Job) -> None:
    """Take and keep the pictures of a video. Errors: DecodeError where it cannot be read."""
    last, fps = job.video.frames - 1, job.video.fps
    indices = places(job.video.frames, fps)
    with open_video(job.path) as video:
        frames = _grey(video, sorted({*indices, *(min(k + 1, last) for k in indices)}))
    small = dict(zip(frames, shrunk(np.stack(list(frames.values()))), strict=True))
    shown = [k for k in indices if k in small]
    pictures = np.stack([small[k] for k in shown])
    after = np.stack([small.get(k + 1, small[k]) for k in shown])
    seconds = np.array(shown, np.float32) / (fps or 1.0)
    with atomic_write(job.kept, "wb") as stream:
        np.savez(stream, seconds=seconds, pictures=pictures, after=after)


def places(frames: int, fps: float) -> list[int]:
    """The frames that are taken: evenly spread, from the first to the last but one."""
    last = max(0, frames - 2)
    count = round(frames / (fps or 1.0) / EVERY)
    count = min(last + 1, max(FEWEST, min(MOST, count)))
    return [round(k * last / max(1, count - 1)) for k in range(count)]


def shrunk(frames: Pictures) -> Pictures:
    """Grey frames [n, h, w] without their black bars, as pictures [n, HEIGHT, WIDTH]."""
    top, bottom = inner(frames.max((0, 2)))
    left, right = inner(frames.max((0, 1)))
    small = resample(frames[:, top:bottom, left:right], (HEIGHT, WIDTH))
    return np.round(small).clip(0, 255).astype(np.uint8)


def inner(brightest: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """The first line that is no bar, and the one after the last, by each line's brightest pixel."""
    bright = np.flatnonzero(brightest > DARK)
    size = len(brightest)
    if not len(bright):
        return 0, size
    first, last = int(bright[0]), int(bright[-1]) + 1
    return (first if first <= MOST_BAR * size else 0), (
        last if size - last <= MOST_BAR * size else size
    )


def _grey(video: OpenVideo, indices: Sequence[int]) -> dict[int, Pictures]:
    """The frames at sorted indices, [h, w] each, as many as there are."""
    wanted, kept = set(indices), {}
    for index, frame in enumerate(video.frames()):
        if index in wanted:
            width = min(frame.width, WIDEST)
            height = max(1, round(frame.height * width / frame.width))
            grey = video.converter.reformat(
                frame, width=width, height=height, format="gray", interpolation="AREA", threads=1
            )
            kept[index] = upright(grey.to_ndarray(), frame)
        if index == indices[-1]:
            break
    if not kept:
        raise DecodeError("there is no frame in it")
    return kept
