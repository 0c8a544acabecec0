"""The motion vectors that a compressed video holds, as motion from frame to frame.

Wu, Zaheer, Hu, Manmatha, Smola and Krähenbühl, "Compressed Video Action Recognition", CVPR 2018.

The decoder hands them over with the pixels. Wu et al. encode their videos anew, into I-frames and
P-frames that are each predicted from the frame before. Other files are read as they are:

- a picture that was predicted from one several frames away, or from a later one (B): its vectors
  count by the time in between, so what moved 8 pixels in 4 frames moves 2 in each. The decoder says
  of a vector only whether it leads back or ahead, so it is taken to lead to the nearest picture
  that it can lead to. Where the pixels tell which it was, 1 % of the moving blocks of motion_shapes
  lead further, and 7 % of 12 videos with x264's defaults; their motion is overestimated;
- a block of such a picture without a vector (intra-coded) does not move, as in the authors' loader;
  where it has one back and one ahead, their mean counts;
- a picture without any (I) moves as the one before it did. So does the authors' loader: asked for
  an I-frame's vectors, it gives those of the P-frame before.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.avi import at_places
from repflow_pl.data.decoding.decode_pyav import (
    Access,
    DecodeError,
    Frame,
    OpenVideo,
    is_mirrored,
    open_video,
    pyav,
    times_shown,
)
from repflow_pl.errors import Lacking

Vectors = npt.NDArray[np.int64]
"""[n, 8]: of each block FFmpeg's source (below 0: an earlier picture), w, h, dst_x, dst_y (of its
middle), motion_x, motion_y and motion_scale (parts of a pixel)."""
Motion = npt.NDArray[np.float32]
"""[H, W, 2], pixels, x before y: right and down are positive."""

CELL, LARGEST = 8, 16
"""Sides of the smallest block that a vector is handed over for and of the largest, in pixels; they
lie on a grid of the smallest."""
H264_SLICES = (1, 5)
"""Types of the units that hold a picture: a slice, and one of a picture that resets the decoder."""


@dataclass(frozen=True)
class Picture:
    """What decoding a picture gives beside its pixels."""

    decoded: int
    """Its place in the order of decoding."""
    reference: bool
    """Whether others may be predicted from it."""
    height: int
    """As it is coded, in pixels."""
    width: int
    turns: int
    """Quarter turns to the left before it is shown."""
    mirrored: bool
    """Whether it is put upside down before that."""
    vectors: Vectors | None
    """One a block and direction; None where it has none."""


def read_pictures(
    path: Path, first: int = 0, last: int | None = None, access: Access = "read"
) -> tuple[int, list[Picture]]:
    """What tells the motion from frame `first` to frame `last`: a file's pictures as they are shown
    from some frame on, and that frame. One that is shown on comes again.

    Where the file may be sought in, no more is decoded than the pixels of these frames need: from
    the keyframe before them to what the last of them is predicted from.

    Args:
        last: None for the file's end.

    Errors: DecodeError where it cannot be read; Lacking, by name, where no picture has vectors.
    """
    start = 0
    with open_video(path) as video:
        _ask_for_vectors(video)
        times = times_shown(video) if access == "seek" and last is not None else []
        if times and last is not None:
            start = max(k for k, (_, is_key) in enumerate(times[: first + 1]) if is_key)
            begin, end = times[start][0], times[min(last, len(times) - 1)][0]
            assert begin is not None and end is not None, "else nobody could seek"
            video.container.seek(begin, stream=video.stream)
            shown = [picture for _, picture in _decoded(video, (begin, end))]
        else:
            shown = [picture for _, picture in at_places(_decoded(video), video.shown)]
    if times and all(picture.vectors is None for picture in shown[1 : first + 2 - start]):
        return read_pictures(path)  # they move as what came before the keyframe, if at all
    _check(path, shown)
    return start, shown


def read_both(path: Path, frames: int) -> tuple[Frame, list[Picture]]:
    """A file's first `frames` frames, RGB, uint8 [n, H, W, 3], and all of its pictures, as they
    are shown: both from one decoding.

    Errors: as of `read_pictures`, and DecodeError where there are fewer frames.
    """
    pixels: list[Frame] = []
    shown: list[Picture] = []
    with open_video(path) as video:
        _ask_for_vectors(video, pixels=True)
        for frame, picture in at_places(_decoded(video), video.shown):
            if len(pixels) < frames:
                pixels.append(video.pixels(frame))
            shown.append(picture)
    _check(path, shown, frames)
    return np.stack(pixels), shown


def motion_between(
    shown: Sequence[Picture], indices: Sequence[int], stride: int
) -> Iterator[Motion]:
    """The motion from each frame i of `indices` to frame min(i + stride, last), [H, W, 2] each.

    It stands where the later frame has the pixel, not the earlier one.
    """
    new = [k == 0 or shown[k] is not shown[k - 1] for k in range(len(shown))]
    pictures = [picture for picture, first in zip(shown, new, strict=True) if first]
    numbers = np.cumsum(new) - 1

    @functools.lru_cache(stride + 1)  # the next fields of a clip take most of the same steps
    def step(k: int) -> Motion:
        """The motion from frame k - 1 to frame k."""
        found = None
        if new[k]:
            earlier = range(int(numbers[k]), 0, -1)
            found = next((m for n in earlier if (m := of_blocks(pictures, n)) is not None), None)
        return still if found is None else found

    still = np.zeros((shown[0].height, shown[0].width, 2), np.float32)
    for index in indices:
        end = min(index + stride, len(shown) - 1)
        motion = traced_back([step(k) for k in range(index + 1, end + 1)]) if end > index else still
        yield turned(motion, shown[index].turns, shown[index].mirrored)


def traced_back(steps: Sequence[Motion]) -> Motion:
    """Motion over several frames, from that of each: the accumulated vectors of Wu et al.

    Their Eq. (1): with T(k) the k-th step and i a pixel of the last frame, i - T(k)(i) is where it
    was a frame before; followed back through all steps that is J(i), and its motion is i - J(i).
    """
    if len(steps) == 1:
        return steps[0]
    height, width = steps[-1].shape[:2]
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    last = np.array([width - 1, height - 1], np.float32)
    place = here - steps[-1]
    for step in reversed(steps[:-1]):
        x, y = np.moveaxis(np.clip(np.rint(place), 0, last).astype(np.intp), -1, 0)
        place -= np.take(step.reshape(-1, 2), y * width + x, axis=0)
    motion: Motion = here - place
    return motion


def turned(motion: Motion, turns: int, mirrored: bool = False) -> Motion:
    """The motion of pictures that are put upside down, or not, and then turned to the left by so
    many quarters."""
    if mirrored:
        motion = motion[::-1] * np.array([1, -1], np.float32)
    for _ in range(turns % 4):
        motion = np.rot90(motion)
        motion = np.stack([motion[..., 1], -motion[..., 0]], -1)  # right becomes up
    return motion


def of_blocks(pictures: Sequence[Picture], k: int) -> Motion | None:
    """What picture k's own vectors say of the motion since the one before; None without any."""
    picture = pictures[k]
    if picture.vectors is None:
        return None
    cells = [-(-side // CELL) for side in (picture.height, picture.width)]
    total, count = np.zeros((*cells, 2), np.float32), np.zeros((*cells, 1), np.float32)
    for towards, places in ((-1, range(k - 1, -1, -1)), (1, range(k + 1, len(pictures)))):
        known = (
            j for j in places if pictures[j].reference and pictures[j].decoded < picture.decoded
        )
        reference = next(known, None)
        if reference is not None:
            chosen = picture.vectors[np.sign(picture.vectors[:, 0]) == towards]
            _add(total, count, chosen, reference - k)
    motion: Motion = (total / np.maximum(count, np.float32(1))).repeat(CELL, 0).repeat(CELL, 1)
    return motion[: picture.height, : picture.width]


def _add(total: Motion, count: Motion, vectors: Vectors, distance: int) -> None:
    """Put the vectors to a picture `distance` frames away into the cells of their blocks."""
    _, width, height, x, y, motion_x, motion_y, scale = vectors.T
    # A vector leads from its block to what that was predicted from.
    values = np.stack([motion_x, motion_y], -1) / (distance * scale[:, None])
    left, top = (x - width // 2) // CELL, (y - height // 2) // CELL
    for down, right in np.ndindex(LARGEST // CELL, LARGEST // CELL):
        row, column = top + down, left + right
        # Blocks at the edge stick out of the picture.
        there = (CELL * down < height) & (CELL * right < width)
        there &= (row < total.shape[0]) & (column < total.shape[1])
        total[row[there], column[there]] += values[there]
        count[row[there], column[there]] += 1


def _check(path: Path, shown: Sequence[Picture], frames: int = 1) -> None:
    """Errors: DecodeError, Lacking."""
    if not shown:
        raise DecodeError(f"{path}: there is no frame in it")
    if len(shown) < frames:
        raise DecodeError(f"{path}: {len(shown)} of {frames} frames are left")
    if all(picture.vectors is None for picture in shown):
        raise Lacking(
            f"{path} holds no motion vectors: its frames are coded one by one, or its codec keeps "
            "them to itself; encode it anew (ffmpeg -i FILE -c:v libx264 FILE.mp4) or leave it out."
        )


def _ask_for_vectors(video: OpenVideo, pixels: bool = False) -> None:
    """Before anything is read, or sought, which opens the decoder."""
    codec = video.stream.codec_context
    codec.options = {"flags2": "+export_mvs"}
    if not pixels:  # vectors are as the file has them, smoothed or not
        codec.options |= {"skip_loop_filter": "all"}
    codec.flags |= pyav().codec.context.Flags.copy_opaque  # frames come with what their packets got


def _decoded(
    video: OpenVideo, between: tuple[int, int] | None = None
) -> Iterator[tuple[Any, Picture]]:
    """PyAV's frames of a file, in the order in which they are shown, each with its picture.

    Args:
        between: the time of a keyframe, which was sought, and that of a later picture, in the
            stream's units: those from the one to the other, and on to what these are predicted
            from.
    """
    codec = video.stream.codec_context
    h264 = codec.name == "h264"
    place = 0
    latest = needed = 0 if between is None else between[1]
    for packet in video.container.demux(video.stream):
        if packet.size:
            reference = is_reference(bytes(packet), codec.extradata) if h264 else None
            if between is not None:
                latest = max(latest, packet.pts)
            packet.opaque = place, reference, latest
            place += 1
        for frame in packet.decode():
            decoded, reference, before = frame.opaque
            if between is not None:
                if frame.pts < between[0]:  # an open group's, predicted from what was passed over
                    continue
                if frame.pts <= between[1]:
                    needed = max(needed, before)
            if reference is None:
                reference = frame.pict_type != pyav().video.frame.PictureType.B
            data = frame.side_data.get("MOTION_VECTORS")
            if codec.name == "mpeg4" and not reference:  # FFmpeg gives zeros in their place
                data = None
            vectors = None if data is None or not len(data) else _plain(data.to_ndarray())
            how = round(frame.rotation / 90), is_mirrored(frame)
            yield frame, Picture(decoded, reference, frame.height, frame.width, *how, vectors)
            if between is not None and frame.pts >= needed:
                return


def _plain(vectors: npt.NDArray[Any]) -> Vectors:
    names = ("source", "w", "h", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")
    return np.stack([vectors[name].astype(np.int64) for name in names], -1)


def is_reference(packet: bytes, extradata: bytes | None) -> bool:
    """Whether pictures may be predicted from an H.264 picture: its slices' nal_ref_idc.

    ITU-T H.264, 7.3.1; units follow start codes (Annex B) or, in mp4 and mkv, their lengths.
    """
    for header in _unit_headers(packet, extradata):
        if header & 31 in H264_SLICES:
            return header >> 5 & 3 > 0
    return True


def _unit_headers(packet: bytes, extradata: bytes | None) -> Iterator[int]:
    """The first byte of each unit."""
    if not extradata or extradata[0] != 1:  # no AVCDecoderConfigurationRecord, so start codes
        yield from (match[1][0] for match in re.finditer(b"\0\0\1(.)", packet, re.DOTALL))
        return
    size = (extradata[4] & 3) + 1
    at = 0
    while at + size < len(packet):
        yield packet[at + size]
        at += size + int.from_bytes(packet[at : at + size], "big")
