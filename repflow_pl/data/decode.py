"""Decode video files. The only file that imports decord.

decord is fast, but the same index can give different frames when a reader seeks, readers that
stay open grow, and a reader of several threads is not repeatable. So every call here opens the
file, reads on from the first frame with one thread, and closes it again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

# decord counts how often it finds its own decoding thread not ready yet, and fails when the count
# is spent. On a busy machine that happens to sound files, so the count is raised from 10240.
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "65536")

import decord  # after the line above, which it reads

decord.logging.set_level(decord.logging.QUIET)

WHOLE = 0.95
"""A file that yields less than this share of the frames its header announces is truncated. Not 1:
AVIs with packed B-frames announce a few frames too many."""


class DecodeError(Exception):
    """A video that cannot be decoded; the message is one line that names the file."""


@dataclass(frozen=True)
class Probe:
    """What a complete decoding of a file found."""

    frames: int
    fps: float
    width: int
    """As decoded, in pixels, after any rotation the file asks for."""
    height: int


def probe(path: Path) -> Probe:
    """Decode a file from end to end and say what is in it.

    The frames are counted with PyAV and then read with decord. Both are needed: decord repeats
    the last frame instead of saying that the file has ended, so its own count is too high for
    truncated files and packed B-frames; and only decord can tell that decord reads the file.

    Errors: DecodeError for a file that is empty, damaged, truncated or no video.
    """
    if path.stat().st_size == 0:
        raise DecodeError(f"{path}: the file is empty")
    frames, fps = _count(path)
    reader = _open(path)
    try:
        for _ in range(frames - 1):
            reader.next()
        height, width = reader.next().shape[:2]
    except Exception as error:
        raise DecodeError(f"{path}: decord cannot read it: {_reason(error)}") from error
    return Probe(frames, fps, width, height)


def read_frames(path: Path, indices: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The frames at `indices` (any order, repeats allowed), RGB, uint8 [n, height, width, 3].

    Errors: DecodeError where the file cannot be read or has no such frame.
    """
    if not len(indices) or min(indices) < 0:
        raise ValueError("read_frames needs at least one index, none of them negative")
    wanted = set(indices)
    last = max(wanted)
    reader = _open(path)
    if last >= len(reader):
        raise DecodeError(f"{path}: no frame {last}, the file has {len(reader)}")
    kept: dict[int, npt.NDArray[np.uint8]] = {}
    try:
        for index in range(last + 1):
            frame = reader.next()
            if index in wanted:
                kept[index] = frame.asnumpy()
    except Exception as error:
        raise DecodeError(f"{path}: decord cannot read it: {_reason(error)}") from error
    return np.stack([kept[index] for index in indices])


def _open(path: Path) -> decord.VideoReader:
    try:
        return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    except Exception as error:
        raise DecodeError(f"{path}: decord cannot open it: {_reason(error)}") from error


def _count(path: Path) -> tuple[int, float]:
    """Frames that the file really holds, and frames per second."""
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DecodeError(f"{path}: there is no video in it")
            stream = container.streams.video[0]
            stream.thread_count = 1
            fps = float(stream.average_rate or 0.0)
            announced: float = stream.frames
            if not announced and container.duration:  # Matroska gives no count, only a duration
                announced = container.duration / av.time_base * fps
            decoded = sum(1 for _ in container.decode(stream))
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: {error.strerror or error}") from error
    if decoded == 0:
        raise DecodeError(f"{path}: there is no frame in it")
    if decoded < WHOLE * announced - 2:
        raise DecodeError(f"{path}: truncated, {decoded} of {announced:.0f} frames are left")
    return decoded, fps


def _reason(error: Exception) -> str:
    """The end of decord's message, in one line: the beginning is a place in its C++ source."""
    text = " ".join(str(error).split())
    return text.rsplit("Check failed:", 1)[-1].strip()[:120] or type(error).__name__
