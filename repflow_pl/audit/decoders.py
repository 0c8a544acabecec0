"""Whether other decoders show the frames that PyAV shows, in order and where they are sought."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from repflow_pl.audit.thumbs import Job, jobs_of
from repflow_pl.data.decoding.decode import read_frames
from repflow_pl.data.decoding.decode_pyav import Access, DecodeError, Frame, reason_of
from repflow_pl.data.decoding.isolated import isolated_map
from repflow_pl.data.index import Video
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


Reading = Callable[[Path, Sequence[int]], Sequence[Frame | None]]
"""The frames at sorted indices, RGB, as a decoder gives them; None for one it does not have."""


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
    jobs = jobs_of(root, chosen, ".json")
    found = {job.video.path: _read(job) for job in jobs}
    todo = [job for job in jobs if found[job.video.path] is None]
    for job, made in isolated_map(compare, todo, "Trying other decoders", workers):
        lost = Disagreement(job.video.path, "a decoder", f"was lost ({made})")
        found[job.video.path] = (lost,) if isinstance(made, DecodeError) else made
    return count, tuple(each for job in jobs for each in found[job.video.path] or ())


def others() -> dict[str, Reading]:
    """What is installed beside PyAV: in order, and where a frame is sought."""
    found: dict[str, Reading] = {}
    for who, module, reading in (("decord", "decord", _by_decord), ("OpenCV", "cv2", _by_opencv)):
        if is_installed(module):
            found[who] = partial(reading, access="read")
            found[f"{who}, seeking"] = partial(reading, access="seek")
    return found


def compare(job: Job) -> tuple[Disagreement, ...]:
    """Ask every decoder for the first, the middle and the last frame."""
    path, frames = job.path, job.video.frames
    asked = sorted({0, frames // 2, frames - 1})
    around = {k: range(max(0, k - NEAR), min(frames, k + NEAR + 1)) for k in asked}
    near = sorted({k for each in around.values() for k in each})
    ours = dict(zip(near, read_frames(path, near, "read", "pyav"), strict=True))
    found = []
    for decoder, reading in others().items():
        try:
            shown = reading(path, asked)
            said = [
                _difference(frame, k, {j: ours[j] for j in around[k]})
                for k, frame in zip(asked, shown, strict=True)
            ]
        except (DecodeError, OSError) as error:
            said = [f"cannot read it: {reason_of(error, path)}"]
        found += [Disagreement(job.video.path, decoder, each) for each in said if each][:1]
    content = {"tried": list(others()), "found": [[each.decoder, each.said] for each in found]}
    with atomic_write(job.kept) as stream:
        json.dump(content, stream)
    return tuple(found)


def _difference(shown: Frame | None, index: int, ours: Mapping[int, Frame]) -> str:
    """What is wrong with a frame, beside ours at and around its index; empty for nothing."""
    if shown is None:
        return f"has no frame {index}"
    if shown.shape != ours[index].shape:
        return f"shows {_size(shown)} pixels in the place of {_size(ours[index])}"
    apart = {k: float(np.abs(shown.astype(np.int16) - each).mean()) for k, each in ours.items()}
    best = min(apart, key=lambda k: apart[k])
    if apart[best] < CLEAR * apart[index] and apart[index] > 1:
        return f"shows frame {best} in the place of frame {index}"
    if apart[index] > OTHER:
        return f"shows other colours: {apart[index]:.0f} levels of 255 apart in frame {index}"
    return ""


def _by_decord(path: Path, indices: Sequence[int], access: Access) -> list[Frame | None]:
    return list(read_frames(path, indices, access, "decord"))


def _by_opencv(path: Path, indices: Sequence[int], access: Access) -> list[Frame | None]:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what it has to say of every frame
    cv2 = load("cv2")
    video = cv2.VideoCapture(str(path))
    try:
        found: list[Frame | None] = []
        for index, before in zip(indices, (-1, *indices), strict=False):
            if access == "seek":
                video.set(cv2.CAP_PROP_POS_FRAMES, index)
            else:
                for _ in range(index - before - 1):
                    video.grab()
            there, frame = video.read()
            found.append(frame[..., ::-1] if there else None)
    finally:
        video.release()
    return found


def _read(job: Job) -> tuple[Disagreement, ...] | None:
    try:
        content = json.loads(job.kept.read_text(encoding="utf-8"))
        if content["tried"] == list(others()):
            return tuple(Disagreement(job.video.path, *each) for each in content["found"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: tried again
    return None


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]} x {frame.shape[0]}"
