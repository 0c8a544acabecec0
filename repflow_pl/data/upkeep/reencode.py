"""Videos made small once, so that training decodes no more than it needs.

H.264 with a keyframe every 16 frames: a clip anywhere in the video is at most 15 frames away from
where decoding can start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from repflow_pl.data.decoding.decode_pyav import DecodeError, OpenVideo, open_video, pyav

KEYFRAME_EVERY = 16
QUALITY = "18"
"""x264's constant rate factor: visually lossless."""


@dataclass(frozen=True)
class Encoding:
    """How videos are re-encoded."""

    short_side: int
    """Pixels; never enlarged."""
    fps: float | None = None
    """Frames per second; None keeps the video's own frames and times."""


def reencode(source: Path, target: Path, encoding: Encoding) -> None:
    """Write `source` to `target` (mp4), which is whole or absent; the sound is left out.

    Errors: DecodeError where the source cannot be read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part")
    try:
        with open_video(source) as video:
            frames = _timed(video)
            rate = Fraction(encoding.fps or video.stream.average_rate or 25).limit_denominator(1001)
            with pyav().open(str(part), "w", format="mp4") as output:
                _write(frames, output, encoding, rate)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def resampled(
    frames: Iterator[tuple[float, np.ndarray]], fps: float
) -> Iterator[tuple[float, np.ndarray]]:
    """At each of the times 0, 1 / fps, ... the frame that is shown then."""
    shown = None
    count = 0
    for time, frame in frames:
        while shown is not None and count / fps < time - 1e-6:
            yield count / fps, shown
            count += 1
        shown = frame
    if shown is not None:
        yield count / fps, shown


def even_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with this short side, or as they are where that is larger; both even."""
    scale = min(1.0, short_side / min(height, width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _write(frames: Iterator[Any], output: Any, encoding: Encoding, rate: Fraction) -> None:
    av = pyav()
    converter = av.video.reformatter.VideoReformatter()
    base = Fraction(1, 90_000)
    if encoding.fps is not None:
        frames = resampled(frames, encoding.fps)
    stream = None
    first = last = 0.0
    for time, picture in frames:
        if stream is None:
            first, last = time, time - 1.0
            stream = output.add_stream("libx264", rate=rate)
            stream.height, stream.width = even_size(
                picture.shape[0], picture.shape[1], encoding.short_side
            )
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = base
            # Closed groups of pictures: decoding from any keyframe needs nothing before it.
            groups = f"keyint={KEYFRAME_EVERY}:min-keyint=1:open-gop=0"
            stream.options = {"crf": QUALITY, "x264-params": groups}
            stream.codec_context.thread_count = 1
        if time <= last:
            continue  # two frames of one time
        last = time
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = converter.reformat(
            frame, stream.width, stream.height, "yuv420p", interpolation="AREA", threads=1
        )
        frame.pts, frame.time_base = round((time - first) / base), base
        output.mux(stream.encode(frame))
    if stream is None:
        raise DecodeError(f"{output.name}: there is no frame in it")
    output.mux(stream.encode())


def _timed(video: OpenVideo) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, picture) of every frame. AVI has one rate, and its frames' own times are odd."""
    rate = float(video.stream.average_rate or 25)
    counted = video.container.format.name == "avi"
    for count, frame in enumerate(video.frames()):
        time = count / rate if counted or frame.time is None else float(frame.time)
        yield time, video.pixels(frame)
