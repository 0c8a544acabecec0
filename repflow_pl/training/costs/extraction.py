"""What a clip's fields of motion cost before a network sees them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.fields.tvl1 import time_tvl1
from repflow_pl.data.fields.vector_fields import time_vectors
from repflow_pl.data.index import VideoSet
from repflow_pl.data.views import frame_indices, view_starts
from repflow_pl.specs import ClipSpec, DataStream


def extraction_ms(
    streams: Sequence[DataStream],
    frames: npt.NDArray[np.uint8],
    video_set: VideoSet,
    clip: ClipSpec,
    repeats: int,
) -> list[float]:
    """Milliseconds of the fields among a network's streams, each time; none where it has none.

    Args:
        frames: [T, H, W, 3], the first view of the first test video. Motion vectors are those of
            the first that can be read. What they are decoded for
            anyway, as the motion vectors of their file, does not count.
    """
    if "raft" in streams:
        repeats = min(repeats, 3)  # seconds each, on a CPU
    times = []
    if "tvl1" in streams or "tvl1_twice" in streams:
        times.append(time_tvl1(frames, repeats, twice="tvl1_twice" in streams))
    if "vectors" in streams:
        for video in video_set.part("test"):
            start = view_starts(video.frames, clip, video.fps)[0]
            indices = frame_indices(start, video.frames, clip, video.fps)[:-1]
            with suppress(DecodeError):  # lost since the run began: the next will do
                path = video_set.root / video.path
                times.append(time_vectors(path, indices.tolist(), clip, repeats))
                break
    if "raft" in streams:
        from repflow_pl.data.fields.raft import time_raft

        times.append(time_raft(frames, repeats))
    return [sum(each) for each in zip(*times, strict=True)]
