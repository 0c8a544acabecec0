"""TV-L1 fields kept in a file for each video: lossless grey video, x above y, with their bound.

    ROOT/.tvl1/stride<k>/<path of the video>.mkv

The two components of a field lie on top of one another in one FFV1 frame of 8-bit grey, coded
without reference to other frames, in about half of the bytes of the raw fields. The file's
`tvl1` tag says what a grey value means.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repflow_pl.data.cache import resized_shape
from repflow_pl.data.decode_pyav import DecodeError, open_video
from repflow_pl.data.eight_bit import BOUND, ZERO
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.specs import ClipSpec

Fields = npt.NDArray[np.uint8]

FOLDER = ".tvl1"
TAG = "tvl1"


def flow_file(root: Path, video: str, stride: int) -> Path:
    """Where the fields of a video are kept."""
    return root / FOLDER / f"stride{stride}" / f"{video}.mkv"


def write_fields(path: Path, fields: Iterable[Fields], made_by: str) -> None:
    """Write fields [h, w, 2] one after the other; the file is whole or absent."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    try:
        with av.open(str(part), "w", format="matroska") as container:
            meaning = {"zero": ZERO, "bound_pixels": BOUND, "rows": "x above y", "by": made_by}
            container.metadata[TAG] = json.dumps(meaning)
            stream = None
            for field in fields:
                grey = np.ascontiguousarray(np.concatenate([field[..., 0], field[..., 1]]))
                if stream is None:
                    stream = container.add_stream("ffv1", rate=25)
                    stream.height, stream.width = grey.shape
                    stream.pix_fmt = "gray"
                    stream.time_base = Fraction(1, 25)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
            if stream is not None:
                container.mux(stream.encode())
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_fields(path: Path, indices: Sequence[int]) -> Fields:
    """The fields at `indices`, uint8 [n, h, w, 2]. Errors: DecodeError where there are none."""
    wanted = set(indices)
    kept = {}
    with open_video(path) as video:
        # Every frame stands alone, so decoding starts a little before the first that is wanted.
        first = max(min(wanted) - 1, 0)
        base = video.stream.time_base
        video.container.seek(round(first / 25 / base), stream=video.stream)
        for frame in video.frames():
            index = round(float(frame.pts * base) * 25)
            if index in wanted:
                x, y = np.split(frame.to_ndarray(format="gray"), 2)
                kept[index] = np.stack([x, y], -1)
            if index >= max(wanted):
                break
    if len(kept) < len(wanted):
        raise DecodeError(f"{path}: no field {min(wanted - set(kept))}")
    return np.stack([kept[index] for index in indices])


@dataclass(frozen=True)
class KeptFields:
    """Fields of the videos' own size, from their files, at the size of the clips."""

    root: Path
    clip: ClipSpec

    def fields(self, video: Video, indices: Sequence[int]) -> Fields:
        """The fields that start at frames `indices`, uint8 [n, h, w, 2], x before y."""
        last = video.frames - 1  # the last frame goes nowhere, and has no field in the file
        moving = [index for index in indices if index < last]
        shape = (video.height, video.width, 2)
        found = {}
        if moving:
            path = flow_file(self.root, video.path, self.clip.stride)
            found = dict(zip(moving, read_fields(path, moving), strict=True))
        still = np.full(shape, ZERO, np.uint8)
        return prepare_fields(np.stack([found.get(index, still) for index in indices]), self.clip)


def kept_fields(video_set: VideoSet, clip: ClipSpec) -> KeptFields | None:
    """The set's prepared fields at the clip's stride, where every video has them."""
    for video in video_set.videos:
        if not flow_file(video_set.root, video.path, clip.stride).is_file():
            return None
    return KeptFields(video_set.root, clip)


def prepare_fields(fields: Fields, clip: ClipSpec) -> Fields:
    """What `DecodedFrames` does to frames: crop and resize; shown smaller, things move less."""
    import torch
    from torchvision.transforms.v2 import functional as transforms

    if clip.source_crop is not None:
        height, width = clip.source_crop
        top, left = (fields.shape[1] - height) // 2, (fields.shape[2] - width) // 2
        fields = fields[:, top : top + height, left : left + width]
    height, width = fields.shape[1:3]
    size = resized_shape(height, width, clip)
    if size == (height, width):
        return fields
    pixels = torch.from_numpy(np.ascontiguousarray(fields)).permute(0, 3, 1, 2).float() - ZERO
    resized = transforms.resize(pixels, list(size), antialias=True)
    factors = torch.tensor([size[1] / width, size[0] / height])[:, None, None]
    steps = (resized * factors).round().clamp(-127, 127) + ZERO
    prepared: Fields = steps.to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return prepared
