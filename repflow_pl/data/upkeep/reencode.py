"""Videos made small once, so that training decodes no more than it needs.

H.264 with a keyframe every 16 frames: a clip anywhere in the video is at most 15 frames away from
where decoding can start.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from repflow_pl.data.decoding.decode_pyav import DecodeError, OpenVideo, open_video, pyav
from repflow_pl.files import atomic_write

KEYFRAME_EVERY = 16
QUALITY = "18"
"""x264's constant rate factor: visually lossless."""


def reencode(source: Path, target: Path, short_side: int, fps: float | None = None) -> None:
    """Write `source` to `target` (mp4), which is whole or absent; the sound is left out.

    Args:
        short_side: pixels; never enlarged.
        fps: frames per second; None keeps the video's own frames and times.

    Errors: DecodeError where the source cannot be read, UserError where nothing can be written.
    """
    with atomic_write(target, "wb") as file, open_video(source) as video:
        rate = Fraction(fps or video.stream.average_rate or 25).limit_denominator(1001)
        frames = _timed(video) if fps is None else resampled(_timed(video), fps)
        with pyav().open(file, "w", format="mp4") as output:
            if not _write(frames, output, short_side, rate):
                raise DecodeError(f"{source}: there is no frame in it")


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


def _write(
    frames: Iterator[tuple[float, np.ndarray]], output: Any, short_side: int, rate: Fraction
) -> bool:
    """Encode (seconds, picture); returns whether there was any."""
    av = pyav()
    converter = av.video.reformatter.VideoReformatter()
    base = Fraction(1, 90_000)
    stream = None
    last = -1.0
    for time, picture in frames:
        if stream is None:
            stream = output.add_stream("libx264", rate=rate)
            height, width = picture.shape[:2]
            stream.height, stream.width = even_size(height, width, short_side)
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
        frame.pts, frame.time_base = round(time / base), base
        output.mux(stream.encode(frame))
    if stream is not None:
        output.mux(stream.encode())
    return stream is not None


def _timed(video: OpenVideo) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds after the first one, picture) of every frame. AVI has one rate, and its frames' own
    times are odd."""
    rate = float(video.stream.average_rate or 25)
    counted = video.container.format.name == "avi"
    first = None
    for count, frame in enumerate(video.frames()):
        time = count / rate if counted or frame.time is None else float(frame.time)
        first = time if first is None else first
        yield time - first, video.pixels(frame)
