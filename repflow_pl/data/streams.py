"""What a network can be given, opened by its name."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from repflow_pl.data.decoding.decode import chosen_decoder
from repflow_pl.data.fields.tvl1_fields import open_fields
from repflow_pl.data.fields.vector_fields import FramesAndVectors, VectorFields, open_vectors
from repflow_pl.data.frames.cache import DecodedFrames, open_frames
from repflow_pl.data.frames.reader import Reader, fill
from repflow_pl.data.index import VideoSet
from repflow_pl.errors import Lacking
from repflow_pl.specs import ClipSpec, DataStream


def open_streams(
    video_set: VideoSet, clip: ClipSpec, streams: Iterable[DataStream], kept: bool = True
) -> dict[DataStream, Reader]:
    """Streams of a set's videos, made first where that was not done yet, or each time anew.

    Errors: UserError for what the set, or this machine, has not.
    """
    readers = {stream: open_stream(video_set, clip, stream, kept) for stream in streams}
    if "rgb" in readers and "vectors" in readers:
        _fill_together(readers["rgb"], readers["vectors"], video_set)
    for reader in readers.values():
        reader.fill(video_set)
    return readers


def open_stream(video_set: VideoSet, clip: ClipSpec, stream: DataStream, kept: bool) -> Reader:
    """A stream of which nothing is made yet. Errors: as of `open_streams`."""
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


def _fill_together(frames: Reader, vectors: Reader, video_set: VideoSet) -> None:
    """Put both into their caches from one decoding of each video of which neither is there. What
    cannot be made so is left to either's own filling, which says why."""
    assert isinstance(frames.source, DecodedFrames) and isinstance(vectors.source, VectorFields)
    left = set(vectors.left(video_set))
    videos = [video for video in frames.left(video_set) if video in left]
    if chosen_decoder() == "pyav":
        both = FramesAndVectors(frames.source, vectors.source)
        label = f"Decoding {video_set.name} with its motion vectors"
        with suppress(Lacking):
            list(fill([frames, vectors], both.whole, videos, label))
