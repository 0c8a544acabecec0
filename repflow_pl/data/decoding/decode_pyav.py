"""PyAV: counts what a file really holds, and decodes it unless decord is asked for.

This module can be imported where PyAV is not installed."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding.avi import at_places, shown_at
from repflow_pl.extras import load

WHOLE = 0.95
"""A file that yields less than this share of the frames its header announces is truncated. Not 1:
AVIs with packed B-frames announce a few frames too many."""
RATE_TOLERANCE = 0.1
"""Of the rate in the header, which is exact where it is right at all."""
MOST_SEEKS = 16
"""Keyframes that are tried before seeking is trusted."""

Frame = npt.NDArray[np.uint8]

Access = Literal["read", "seek"]
"""How frames of a file may be reached: by reading all before them, or by seeking to a keyframe and
skipping on, where that was found to give the same frames."""


class DecodeError(Exception):
    """A video that cannot be decoded; the message is one line that names the file."""


def reason_of(error: Exception, path: Path) -> str:
    """Why a file cannot be used, in one line that does not name it."""
    return " ".join(str(error).removeprefix(f"{path}: ").split()) or "cannot be read"


@dataclass(frozen=True)
class Probe:
    """What a complete decoding of a file found."""

    frames: int
    fps: float
    width: int
    """As decoded, in pixels, after any rotation the file asks for."""
    height: int
    access: Access = "read"


@dataclass(frozen=True)
class OpenVideo:
    """A file whose video is decoded by one thread."""

    container: Any
    stream: Any
    converter: Any
    """PyAV's, of colours, kept for all frames: to set one up takes longer than a small frame."""
    shown: Sequence[int] | None
    """As of `avi.shown_at`."""

    def frames(self) -> Iterator[Any]:
        """PyAV's frames as they are shown, from the first on; one that is shown on comes again."""
        yield from at_places(self.container.decode(self.stream), self.shown)

    def pixels(self, frame: Any) -> Frame:
        """RGB, turned as the file asks for."""
        picture: Frame = self.converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(upright(picture, frame))


def upright(picture: Frame, frame: Any) -> Frame:
    """A picture made of a frame, turned and mirrored as its file asks for."""
    if is_mirrored(frame):
        picture = picture[::-1]
    turned: Frame = np.rot90(picture, round(frame.rotation / 90))
    return turned


def is_mirrored(frame: Any) -> bool:
    """Whether a file asks for its frames upside down before `frame.rotation` turns them: so
    telephones write what they film of who holds them as in a mirror."""
    told = frame.side_data.get("DISPLAYMATRIX")
    if told is None:
        return False
    a, b, _, c, d, *_ = np.frombuffer(told, "<i4").astype(float)
    return bool(a * d < b * c)


def mirrors(path: Path) -> bool:
    """Whether a file asks for its pictures as in a mirror."""
    with open_video(path) as video:
        return is_mirrored(next(video.frames()))


def probe(path: Path) -> Probe:
    """Decode a file from end to end.

    Errors: DecodeError for a file that is damaged, truncated or no video.
    """
    times: list[int | None] = []
    sums: dict[int, int] = {}
    sizes: set[tuple[int, int]] = set()
    height = width = 0
    with open_video(path) as video:
        announced = _listed(video)
        for frame in video.frames():
            if frame.key_frame or not times:
                picture = video.pixels(frame)
                height, width = picture.shape[:2]
                sums[len(times)] = zlib.crc32(picture.data)
            times.append(frame.pts)
            sizes.add((frame.width, frame.height))
        if not times:
            raise DecodeError(f"{path}: there is no frame in it")
        if len(sizes) > 1:  # as of a call that was recorded
            raise DecodeError(f"{path}: its frames change their size; encode it anew")
        first, last, base = times[0], times[-1], video.stream.time_base
        seconds = None
        if video.shown is None and first is not None and last is not None and base:
            seconds = float((last - first) * base)
        fps = rate(float(video.stream.average_rate or 0.0), len(times), seconds)
        duration = (video.container.duration or 0) / 1_000_000
    if not announced and duration and fps and _end(path) < WHOLE * duration - 2 / fps:
        announced = round(duration * fps)
    if len(times) < WHOLE * announced - 2:
        raise DecodeError(f"{path}: truncated, {len(times)} of {announced} frames are left")
    access: Access = "seek" if _seeks(path, times, sums) else "read"
    return Probe(len(times), fps, width, height, access)


def read_frames(path: Path, indices: Sequence[int], access: Access) -> Frame:
    """The frames at `indices`, RGB, uint8 [n, height, width, 3]; see `decode.read_frames`."""
    wanted = set(indices)
    kept: dict[int, Frame] = {}
    with open_video(path) as video:
        if access == "seek":
            shown = times_shown(video)
            keys = [index for index, (_, key) in enumerate(shown) if key]
            there = sorted(index for index in wanted if index < len(shown))
            for key, members in groupby(there, lambda i: keys[bisect_right(keys, i) - 1]):
                kept |= _from_key(video, shown, key, list(members))
        else:
            last = max(wanted)
            for index, frame in enumerate(video.frames()):
                if index in wanted:
                    kept[index] = video.pixels(frame)
                if index == last:
                    break
    if len(kept) < len(wanted):
        raise DecodeError(f"{path}: no frame {min(wanted - set(kept))}, the file has fewer")
    return np.stack([kept[index] for index in indices])


def pyav() -> Any:
    """The package. Errors: NotInstalled."""
    return load("av")


@contextmanager
def open_video(path: Path) -> Iterator[OpenVideo]:
    """A file's first video.

    Errors: DecodeError, also for what is met while it is open; UserError without PyAV.
    """
    av = pyav()

    try:
        with av.open(f"file:{path}") as container:  # 10:30.mp4 is no address
            if not container.streams.video:
                raise DecodeError(f"{path}: there is no video in it")
            stream = container.streams.video[0]
            stream.thread_count = 1
            converter = av.video.reformatter.VideoReformatter()
            yield OpenVideo(container, stream, converter, shown_at(path))
    except av.FFmpegError as error:
        raise DecodeError(f"{path}: {error.strerror or error}") from error


def _listed(video: OpenVideo) -> int:
    """Frames that the header lists; 0 where it does not say. What an mp4 or mov was cut to without
    encoding it anew, as by `ffmpeg -c copy` or on a telephone, is fewer than lie in it."""
    listed: int = video.stream.frames
    if listed and "mp4" in video.container.format.name:
        return sum(not entry.is_discard for entry in video.stream.index_entries)
    return listed


def _end(path: Path) -> float:
    """Seconds at which the last packet of any stream ends.

    Matroska gives no count of frames, only the duration of its longest stream, which may be sound
    or subtitles: the file is whole where one of them goes on that long, cut off where none does.
    """
    with open_video(path) as video:
        return max(
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in video.container.demux()
            if packet.pts is not None
        )


def rate(said: float, frames: int, seconds: float | None) -> float:
    """Frames per second: as the file says, unless its frames come at another rate.

    Args:
        seconds: from the first frame to the last; None where that is not known.
    """
    if seconds is None or seconds <= 0:
        return said
    measured = (frames - 1) / seconds
    return said if abs(measured - said) <= RATE_TOLERANCE * said else measured


def times_shown(video: OpenVideo) -> list[tuple[int | None, bool]]:
    """(time in the stream's units, whether it is a keyframe) of all frames as they are shown."""
    demuxed = video.container.demux(video.stream)
    packets = [(packet.pts, packet.is_keyframe) for packet in demuxed if packet.size]
    if any(pts is None for pts, _ in packets):
        return packets
    return sorted(packets)


def _from_key(
    video: OpenVideo, shown: Sequence[tuple[int | None, bool]], key: int, members: Sequence[int]
) -> dict[int, Frame]:
    """The frames `members`, decoded from the keyframe `key` on."""
    place = {shown[index][0]: index for index in members}
    first, last = shown[key][0], shown[members[-1]][0]
    kept: dict[int, Frame] = {}
    video.container.seek(first, stream=video.stream)
    for frame in video.container.decode(video.stream):
        # What an open group of pictures shows before its keyframe refers to frames passed over.
        if frame.pts < first:
            continue
        if frame.pts in place:
            kept[place[frame.pts]] = video.pixels(frame)
        if frame.pts >= last:
            break
    return kept


def _seeks(path: Path, times: Sequence[int | None], sums: dict[int, int]) -> bool:
    """Whether frames can be told by their times, and decoding may start at these keyframes.

    Args:
        times: of the frames, decoded from the start.
        sums: check sums of the keyframes, by index.
    """
    with open_video(path) as video:
        shown = times_shown(video)
        keys = [index for index, (_, key) in enumerate(shown) if key]
        unique = None not in times and len(set(times)) == len(times)
        if not unique or [time for time, _ in shown] != list(times) or keys[:1] != [0]:
            return False
        try:
            for key in some(keys):
                found = _from_key(video, shown, key, [key])
                if key not in found or zlib.crc32(found[key].data) != sums.get(key):
                    return False
        except pyav().FFmpegError:
            return False
    return True


def some(keys: Sequence[int]) -> list[int]:
    """The keyframes to try, not more than MOST_SEEKS, the first and the last among them."""
    if len(keys) <= MOST_SEEKS:
        return list(keys)
    return [keys[round(k * (len(keys) - 1) / (MOST_SEEKS - 1))] for k in range(MOST_SEEKS)]
