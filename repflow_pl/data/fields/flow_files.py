"""TV-L1 fields kept in a file for each video: lossless grey video, x above y, with their bound.

    ROOT/.tvl1/stride<k>/<path of the video>.mkv

The two components of a field lie on top of one another, a row of check sum below them, in one FFV1
frame of 8-bit grey, coded without reference to other frames, in about half of the bytes of the raw
fields. The file's `tvl1` tag says what a grey value means, of which video the fields are and how
they were made. How is part of the name of a run that takes them; a file that is missing, damaged or
of another video is made again.
"""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.decode_pyav import (
    DecodeError,
    OpenVideo,
    open_video,
    pyav,
    reason_of,
)
from repflow_pl.data.decoding.isolated import isolated_map
from repflow_pl.data.fields.eight_bit import BOUND, ZERO, to_bytes, to_pixels
from repflow_pl.data.fields.tvl1 import CudaSolver, Fields, TVL1Options, cuda_device, of_frames
from repflow_pl.data.frames.cache import crop_source, resize, resized_shape
from repflow_pl.data.frames.reader import Reader, Source
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.data.listing.manifest import content_of
from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write, is_fresh
from repflow_pl.specs import ClipSpec

FOLDER = ".tvl1"
TAG = "tvl1"
VIDEO_TIMEOUT = 3600.0
"""Seconds that the fields, or the encoding, of one video may take."""


def flow_file(root: Path, video: str, stride: int) -> Path:
    """Where the fields of a video are kept."""
    return root / FOLDER / f"stride{stride}" / f"{video}.mkv"


def write_fields(path: Path, fields: Iterable[Fields], made_by: str, content: str) -> None:
    """Write fields [h, w, 2] one after the other, of a video with that content (`Video.content`);
    the file is whole or absent."""
    av = pyav()
    with atomic_write(path, "wb") as file, av.open(file, "w", format="matroska") as container:
        container.metadata[TAG] = json.dumps(_meaning(made_by, content))
        stream = None
        for field in fields:
            rows = np.concatenate([field[..., 0], field[..., 1]])
            grey = np.concatenate([rows, _check_sum(rows)])
            if stream is None:
                stream = container.add_stream("ffv1", rate=25)
                stream.height, stream.width = grey.shape
                stream.pix_fmt = "gray"
                stream.time_base = Fraction(1, 25)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
        if stream is not None:
            container.mux(stream.encode())


def made(path: Path) -> tuple[str, str]:
    """How the fields of a file were made, and the content of their video; empty where it does not
    say so."""
    try:
        with open_video(path) as video:
            return _made(path, video)
    except DecodeError:
        return "", ""


def read_fields(path: Path, indices: Sequence[int], settings: str, content: str) -> Fields:
    """The fields at `indices`, uint8 [n, h, w, 2].

    Errors: DecodeError where there are none, and where they were made with other settings or of a
    video with another content.
    """
    wanted = set(indices)
    kept = {}
    with open_video(path) as video:
        if _made(path, video) != (settings, content):
            raise DecodeError(f"{path}: made with other settings or of another video")
        # Every frame stands alone, so decoding starts a little before the first that is wanted.
        first = max(min(wanted) - 1, 0)
        base = video.stream.time_base
        video.container.seek(round(first / 25 / base), stream=video.stream)
        for frame in video.frames():
            index = round(float(frame.pts * base) * 25)
            if index in wanted:
                grey = frame.to_ndarray(format="gray")
                rows = grey[:-1]
                if not np.array_equal(grey[-1:], _check_sum(rows)):  # FFV1's decoder conceals it
                    raise DecodeError(f"{path}: field {index} is damaged")
                kept[index] = np.stack(np.split(rows, 2), -1)
            if index >= max(wanted):
                break
    if len(kept) < len(wanted):
        raise DecodeError(f"{path}: no field {min(wanted - set(kept))}")
    return np.stack([kept[index] for index in indices])


def settings_here(stride: int) -> str:
    """How fields are made on this machine: a GPU's solver gives others, see `CudaSolver`."""
    return f"{'cuda' if cuda_device() else 'cpu'}, {TVL1Options()}, stride {stride}"


def make_fields(job: tuple[Path, Path, int]) -> None:
    """Make the file `target` of the fields of a video at a stride.

    Errors: DecodeError where the video cannot be read.
    """
    source, target, stride = job
    write_fields(target, _fields(source, stride), settings_here(stride), content_of(source))


def is_current(path: Path, video: Path, settings: str) -> bool:
    """Whether there is nothing to be done for a video's fields, by their first bytes."""
    return is_made_of(path, video) and made(path)[0] == settings


def is_made_of(path: Path, video: Path, content: str = "") -> bool:
    """Whether a file's fields are of a video: not older than it, or of its very content, as where a
    set was copied and the videos after the fields.

    Args:
        content: of the video, where it is known.
    """
    return is_fresh(path, video) or (
        path.is_file() and made(path)[1] == (content or content_of(video))
    )


def fields_beside(video_set: VideoSet) -> dict[str, str]:
    """How the fields beside a set's videos were made, by the folder of their stride."""
    found = {}
    for folder in sorted((video_set.root / FOLDER).glob("stride*")):
        files = (folder / f"{video.path}.mkv" for video in video_set.videos)
        told = (made(path)[0] for path in files if path.is_file())
        if by := next(filter(None, told), ""):  # a damaged one tells nothing, and the next one may
            found[folder.name] = by
    return found


@dataclass(frozen=True)
class FileFields(Source):
    """Fields of the videos' own size, from their files, at the size of the clips."""

    root: Path
    clip: ClipSpec

    def read(self, video: Video, indices: Sequence[int]) -> Fields:
        """The fields that start at frames `indices`, uint8 [n, H, W, 2], x before y."""
        last = video.frames - 1  # the last frame goes nowhere, and has no field in the file
        moving = [index for index in indices if index < last]
        found = dict(zip(moving, self._moving(video, moving), strict=True)) if moving else {}
        still = np.full((video.height, video.width, 2), ZERO, np.uint8)
        return np.stack([found.get(index, still) for index in indices])

    def finish(self, video: Video, frames: Fields) -> Fields:
        """Them at the size of the clips."""
        return prepare_fields(frames, self.clip)

    def _moving(self, video: Video, indices: Sequence[int]) -> Fields:
        path = flow_file(self.root, video.path, self.clip.stride)
        source = self.root / video.path
        try:
            return read_fields(path, indices, self.clip.fields, video.content)
        except DecodeError as error:
            here = settings_here(self.clip.stride)
            if here != self.clip.fields:
                raise DecodeError(f"{error}, and would be made otherwise here ({here})") from error
            console.print(f"{error}; it is made again")
            try:
                make_fields((source, path, self.clip.stride))
            except DecodeError as again:
                reason = reason_of(again, source)
                raise DecodeError(f"{path}: cannot be made again, {reason}") from error
        return read_fields(path, indices, self.clip.fields, video.content)


def open_files(video_set: VideoSet, clip: ClipSpec) -> Reader:
    """The fields beside a set's videos, made with `clip.fields`; what is missing or of another
    video is made first.

    Errors: UserError where that is to be done and would be done otherwise on this machine.
    """
    root = video_set.root.absolute()
    files = [(root / v.path, flow_file(root, v.path, clip.stride)) for v in video_set.videos]
    stale = [
        (path, file, clip.stride)
        for (path, file), video in zip(files, video_set.videos, strict=True)
        if not is_made_of(file, path, video.content)
    ]
    if stale and settings_here(clip.stride) != clip.fields:
        raise UserError(
            f"{video_set.name}: {len(stale)} of {len(files)} files of TV-L1 fields are missing or "
            f"of another video, as {stale[0][1]} is, and were made with {clip.fields}, which "
            f"would be {settings_here(clip.stride)} here; make them again on such a machine, or "
            f"move {FOLDER} away."
        )
    label = f"TV-L1 of {video_set.name}"
    for (video, _, _), failed in isolated_map(make_fields, stale, label, timeout=VIDEO_TIMEOUT):
        if failed:
            console.print(f"{video}: no TV-L1 fields, {reason_of(failed, video)}")
    return Reader(FileFields(root, clip), timeout=VIDEO_TIMEOUT)


def _meaning(made_by: str, content: str) -> dict[str, int | float | str]:
    rows = "x, y, check sum"
    return {"zero": ZERO, "bound_pixels": BOUND, "rows": rows, "by": made_by, "of": content}


def _check_sum(rows: Fields) -> Fields:
    """A row [1, w] that tells damage: the CRC-32 of what stands above it, again and again."""
    crc = np.frombuffer(zlib.crc32(rows.tobytes()).to_bytes(4, "big"), np.uint8)
    return np.resize(crc, (1, rows.shape[1]))


def _made(path: Path, video: OpenVideo) -> tuple[str, str]:
    """How a file's fields were made, and of which content."""
    tags = {key.lower(): value for key, value in video.container.metadata.items()}
    try:
        meaning = json.loads(tags[TAG])
        by, of = meaning["by"], meaning["of"]
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"{path}: it does not say how it was made") from error
    if meaning != _meaning(by, of):
        raise DecodeError(f"{path}: its values mean something else")
    return str(by), str(of)


def _fields(path: Path, stride: int) -> Iterator[Fields]:
    """The fields from every frame but the last to the one `stride` later, or to the last."""
    solver = CudaSolver(TVL1Options()) if cuda_device() else None
    with open_video(path) as video:
        frames = map(video.pixels, video.frames())
        window = list(itertools.islice(frames, stride))
        for frame in frames:
            window.append(frame)
            yield of_frames(window[0], frame, solver)
            window.pop(0)
        for first in window[:-1]:
            yield of_frames(first, window[-1], solver)


def prepare_fields(fields: Fields, clip: ClipSpec) -> Fields:
    """`prepare_motion` of fields in eight bits."""
    return to_bytes(prepare_motion(to_pixels(fields), clip))


def prepare_motion(motion: npt.NDArray[np.float32], clip: ClipSpec) -> npt.NDArray[np.float32]:
    """What `DecodedFrames` does to frames: crop and resize; shown smaller, things move less.

    Shapes: [n, H, W, 2] in pixels of the file -> [n, h, w, 2] in pixels of the clip.
    """
    motion = crop_source(motion, clip)
    height, width = motion.shape[1:3]
    size = resized_shape(height, width, clip)
    if size == (height, width):
        return motion
    return resize(motion, size) * np.array([size[1] / width, size[0] / height], np.float32)
