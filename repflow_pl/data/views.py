"""Which frames and pixels of a video are a clip, and which clips a set cannot give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from repflow_pl.data.fields.eight_bit import ZERO
from repflow_pl.data.frames.cache import DecodedFrames, prepared_shape
from repflow_pl.data.index import VideoSet
from repflow_pl.data.transforms import centre
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec, DataStream

CHANNELS: dict[DataStream, int] = {"rgb": 3, "tvl1": 2, "tvl1_twice": 4, "vectors": 2, "raft": 2}
"""Of a stream."""

FEWER: dict[DataStream, int] = {"rgb": 0, "tvl1": 1, "tvl1_twice": 2, "vectors": 1, "raft": 1}
"""How many fewer than a clip's frames a stream has."""


def check_clip(
    video_set: VideoSet, clip: ClipSpec, streams: Sequence[DataStream] = ("rgb",)
) -> None:
    """Refuse clips that the set cannot give, before anything is computed.

    Errors: UserError for mirroring where left and right are classes, shuffled flow, flow of one
    frame, videos smaller than a crop, and videos shorter than a clip unless it may hold.
    """
    name = video_set.name
    if clip.flip and not video_set.mirror_safe:
        raise UserError(f"{name}: mirrored clips may change their class here; set flip to false.")
    with_fields = any(stream != "rgb" for stream in streams)
    if with_fields and clip.order == "shuffled":
        raise UserError(
            f"{name}: shuffled frames have no motion; the shuffled control is for 'rgb' only."
        )
    needed = 3 if "tvl1_twice" in streams else 2
    if with_fields and clip.frames < needed:
        raise UserError(
            f"{name}: motion needs clips of {needed} frames or more here, not {clip.frames}."
        )
    if clip.seconds is not None:
        if with_fields:
            raise UserError(
                f"{name}: fields of motion, as TV-L1's, are over a stride in frames; leave out "
                "--clip.seconds, or by --rows the rows with such fields."
            )
        for video in video_set.videos:
            if video.fps <= 0 and video.frames > 1:
                raise UserError(
                    f"{name}: {video.path} does not say its frame rate; take a stride in frames."
                )
    for video in video_set.videos:
        height, width = prepared_shape(video, clip)
        if height < clip.crop[0] or width < clip.crop[1]:
            raise UserError(
                f"{name}: {video.path} is {height} x {width} pixels (height x width) after "
                f"resizing, smaller than the crop of {clip.crop[0]} x {clip.crop[1]}; "
                "take a larger size or a smaller crop."
            )
    spans = [(video, clip.offsets(video.fps)[-1] + 1) for video in video_set.videos]
    short = [(video, span) for video, span in spans if video.frames < span]
    if short and clip.short == "refuse":
        others = f", as do {len(short) - 1} others" if len(short) > 1 else ""
        video, span = short[0]
        how = f"stride {clip.stride}" if clip.seconds is None else f"{clip.seconds} seconds each"
        raise UserError(
            f"{name}: {video.path} has {video.frames} frames, fewer than the {span} "
            f"that a clip of {clip.frames} frames at {how} spans{others}; "
            "take fewer frames, a smaller stride, or --clip.short hold to repeat the last frame."
        )


def one_clip(video_set: VideoSet, clip: ClipSpec) -> npt.NDArray[np.uint8]:
    """The first view of the first test video, [T, H, W, 3], with no other video prepared.

    Errors: UserError as `check_clip` says, of clips with TV-L1 fields.
    """
    check_clip(video_set, clip, ("rgb", "tvl1"))
    video = video_set.part("test")[0]
    start = view_starts(video.frames, clip, video.fps)[0]
    times = frame_indices(start, video.frames, clip, video.fps)
    frames = DecodedFrames(video_set.root, clip).frames(video, times.tolist())
    at = centre(*prepared_shape(video, clip), clip.crop)
    return frames[:, at.top : at.top + at.height, at.left : at.left + at.width]


def frame_indices(
    start: int, frames: int, clip: ClipSpec, fps: float = 0.0
) -> npt.NDArray[np.int64]:
    """The frames of a clip, [clip.frames]; the video's last frame is held beyond its end."""
    times: npt.NDArray[np.int64] = np.minimum(start + np.array(clip.offsets(fps)), frames - 1)
    return times


def view_starts(frames: int, clip: ClipSpec, fps: float = 0.0) -> list[int]:
    """First frames of the evaluation's views: from the first possible to the last, evenly.

    One view alone lies in the middle.
    """
    last = max(frames - clip.offsets(fps)[-1] - 1, 0)
    if clip.views == 1:
        return [last // 2]
    return [round(view * last / (clip.views - 1)) for view in range(clip.views)]


def window_size(height: int, width: int, crop: tuple[int, int], factor: float) -> tuple[int, int]:
    """What of a frame fills the crop when the frame is enlarged by `factor`: (height, width).

    Where the frame is too small for that, all that has the crop's shape.
    """
    factor = max(factor, crop[0] / height, crop[1] / width)
    return min(round(crop[0] / factor), height), min(round(crop[1] / factor), width)


def nothing(stream: DataStream, clip: ClipSpec) -> Tensor:
    """A black clip, or its motionless fields: [C, T, H, W]."""
    shape = (CHANNELS[stream], clip.frames - FEWER[stream], *clip.crop)
    return torch.full(shape, 0 if stream == "rgb" else ZERO, dtype=torch.uint8)
