"""What a network can be given, opened by its name."""

from __future__ import annotations

from repflow_pl.data.fields.tvl1_fields import open_fields
from repflow_pl.data.fields.vector_fields import open_vectors
from repflow_pl.data.frames.cache import open_frames
from repflow_pl.data.frames.reader import Reader
from repflow_pl.data.index import VideoSet
from repflow_pl.specs import ClipSpec, DataStream


def open_stream(
    video_set: VideoSet, clip: ClipSpec, stream: DataStream, kept: bool = True
) -> Reader:
    """A stream of a set's videos, made first where that was not done yet, or each time anew.

    Errors: UserError for what the set, or this machine, has not.
    """
    match stream:
        case "rgb":
            return open_frames(video_set, clip, kept=kept)
        case "vectors":
            return open_vectors(video_set, clip, kept=kept)
        case "raft":
            from repflow_pl.data.fields.raft import open_raft  # and torchvision's networks with it

            return open_raft(video_set, clip, kept=kept)
        case "tvl1" | "tvl1_twice":
            return open_fields(video_set, clip, twice=stream == "tvl1_twice", kept=kept)
