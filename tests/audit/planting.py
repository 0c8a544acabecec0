"""Videos that are copies of others, made by a real encoder as people make them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import av
import numpy as np

from repflow_pl.data.decoding.decode_pyav import Frame, open_video
from repflow_pl.data.sets.motion_shapes import draw, scene

Change = Callable[[Frame], Frame]


def write(path: Path, frames: Frame, crf: int = 18, fps: float = 12) -> Path:
    """H.264 of frames [n, h, w, 3]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=round(fps), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode())
    return path


def read(path: Path) -> Frame:
    """All frames of a video."""
    with open_video(path) as video:
        return np.stack([video.pixels(frame) for frame in video.frames()])


def original(path: Path, seed: int) -> Path:
    """A scene of motion_shapes that no other seed has."""
    return write(path, draw(scene(seed, "train", seed)))


def cropped(frames: Frame) -> Frame:
    """A tenth of each side less, not in the middle."""
    height, width = frames.shape[1:3]
    top, left = height // 30, width // 15
    high, wide = (2 * round(0.45 * side) for side in (height, width))
    return frames[:, top : top + high, left : left + wide]


CHANGES: MappingProxyType[str, Change] = MappingProxyType(
    {
        "encoded": lambda frames: frames,
        "cropped": cropped,
        "mirrored": lambda frames: frames[:, :, ::-1],
        "trimmed": lambda frames: frames[len(frames) // 3 : len(frames) // 3 + len(frames) // 2],
    }
)


def plant(source: Path, path: Path, change: str) -> Path:
    """A changed copy, encoded again at low quality."""
    return write(path, CHANGES[change](read(source)), crf=35)
