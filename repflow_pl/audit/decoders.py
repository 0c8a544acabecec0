"""Whether other decoders show the frames that PyAV shows, in order and where they are sought."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repflow_pl.audit.thumbs import folder_of, name, stamp
from repflow_pl.data.decode import read_frames
from repflow_pl.data.decode_pyav import DecodeError, Frame
from repflow_pl.data.index import Video
from repflow_pl.data.isolated import Lost, isolated_map
from repflow_pl.extras import is_installed, load
from repflow_pl.files import atomic_write

TRIED = 100
"""Files of a set, evenly spread over the sorted list: each is decoded by every decoder."""
NEAR = 3
"""Frames before and after the one that is asked for, which might be shown in its place."""
OTHER = 12.0
"""Mean difference in levels of 255 from which colours are other ones: rounding makes 1 to 3."""
CLEAR = 0.5
"""A frame is another one where that fits twice as well."""


@dataclass(frozen=True)
class Disagreement:
    """What another decoder makes of a file."""

    path: str
    decoder: str
    said: str


@dataclass(frozen=True)
class Job:
    """A file to be decoded by everything that is installed."""

    root: Path
    video: Video
    kept: Path


Reading = Callable[[Path, int], Frame]
"""The frame at an index, RGB, as a decoder gives it."""


def disagreements(
    root: Path, videos: Sequence[Video], workers: int | None = None
) -> tuple[int, tuple[Disagreement, ...]]:
    """How many files were tried, and what other decoders show otherwise in them.

    What an earlier audit found is taken again, unless the file or what is installed is another one.
    """
    if not others():
        return 0, ()
    ordered = sorted(videos, key=lambda video: video.path)
    count = min(TRIED, len(ordered))
    chosen = [ordered[round(k * (len(ordered) - 1) / max(1, count - 1))] for k in range(count)]
    kept = folder_of(root)
    jobs = [Job(root, video, (kept / name(video)).with_suffix(".json")) for video in chosen]
    found = {job.video.path: _read(job) for job in jobs}
    todo = [job for job in jobs if found[job.video.path] is None]
    for job, made in isolated_map(compare, todo, "Trying other decoders", workers):
        lost = Disagreement(job.video.path, "a decoder", f"was lost ({made})")
        found[job.video.path] = (lost,) if isinstance(made, Lost) else made
    return count, tuple(each for job in jobs for each in found[job.video.path] or ())


def others() -> dict[str, Reading]:
    """What is installed beside PyAV: in order, and where a frame is sought."""
    found: dict[str, Reading] = {}
    if is_installed("decord"):
        found["decord"] = lambda path, index: read_frames(path, [index], "read", "decord")[0]
        found["decord, seeking"] = lambda path, index: read_frames(path, [index], "seek", "decord")[
            0
        ]
    if is_installed("cv2"):
        found["OpenCV"] = lambda path, index: _by_opencv(path, index, seek=False)
        found["OpenCV, seeking"] = lambda path, index: _by_opencv(path, index, seek=True)
    return found


def compare(job: Job) -> tuple[Disagreement, ...]:
    """Ask every decoder for the first, the middle and the last frame."""
    path, frames = job.root / job.video.path, job.video.frames
    found = []
    for decoder, reading in others().items():
        said = next(_differences(path, frames, reading), None)
        if said is not None:
            found.append(Disagreement(job.video.path, decoder, said))
    content = {"of": _state(job), "found": [[each.decoder, each.said] for each in found]}
    with atomic_write(job.kept) as stream:
        json.dump(content, stream)
    return tuple(found)


def _differences(path: Path, frames: int, reading: Reading) -> Iterator[str]:
    for index in sorted({0, frames // 2, frames - 1}):
        around = [k for k in range(index - NEAR, index + NEAR + 1) if 0 <= k < frames]
        try:
            shown = reading(path, index)
        except (DecodeError, OSError) as error:
            yield f"has no frame {index} of {frames}: {str(error).removeprefix(f'{path}: ')}"
            continue
        ours = read_frames(path, around, "read", "pyav")
        if shown.shape != ours[0].shape:
            yield f"shows {_size(shown)} pixels in the place of {_size(ours[0])}"
            continue
        apart = [float(np.abs(shown.astype(np.int16) - each).mean()) for each in ours]
        own, best = apart[around.index(index)], int(np.argmin(apart))
        if apart[best] < CLEAR * own and own > 1:
            yield f"shows frame {around[best]} in the place of frame {index}"
        elif own > OTHER:
            yield f"shows other colours: {own:.0f} levels of 255 apart in frame {index}"


def _by_opencv(path: Path, index: int, seek: bool) -> Frame:
    cv2 = load("cv2")
    video = cv2.VideoCapture(str(path))
    try:
        if seek:
            video.set(cv2.CAP_PROP_POS_FRAMES, index)
        else:
            for _ in range(index):
                video.grab()
        there, frame = video.read()
    finally:
        video.release()
    if not there:
        raise DecodeError("it ends before")
    shown: Frame = frame[..., ::-1]
    return shown


def _state(job: Job) -> list[object]:
    return [*stamp(job.root / job.video.path), *others()]


def _read(job: Job) -> tuple[Disagreement, ...] | None:
    try:
        content = json.loads(job.kept.read_text(encoding="utf-8"))
        if content["of"] == _state(job):
            return tuple(Disagreement(job.video.path, *each) for each in content["found"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: tried again
    return None


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]} x {frame.shape[0]}"
