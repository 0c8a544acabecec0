"""Decode video files, with PyAV (`decode_pyav.py`) or with decord. Both give the same frames.

Either is enough. PyAV is taken where it is installed, if nobody says otherwise: it is the faster
one of the two (tables/bench) and has wheels everywhere. `REPFLOW_DECODER=decord` or `--decoder
decord` asks for decord, which is imported in this file alone.

decord gives different frames for the same index when a reader seeks in some files, readers that
stay open grow, and a reader of several threads is not repeatable. So every call here opens the
file, reads with one thread, and closes it again; and it seeks and skips only in files where that
was found to give the frames that reading from the start gives.
"""

from __future__ import annotations

import itertools
import os
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from repflow_pl.data.decoding import decode_pyav
from repflow_pl.data.decoding.avi import at_places, shown_at
from repflow_pl.data.decoding.decode_pyav import Access, DecodeError, Probe
from repflow_pl.errors import UserError, unknown
from repflow_pl.extras import command, extra_of, is_installed

if TYPE_CHECKING:
    import decord

Decoder = Literal["decord", "pyav"]
MODULES: dict[Decoder, str] = {"pyav": "av", "decord": "decord"}
"""What they are imported as, the preferred one first."""
VARIABLE = "REPFLOW_DECODER"
"""Environment variable that names the decoder, for this process and those that it starts."""

# decord counts how often it finds its own decoding thread not ready yet, and fails when the count
# is spent. On a busy machine that happens to sound files, so the count is raised from 10240.
os.environ.setdefault("DECORD_EOF_RETRY_MAX", "65536")


def choose_decoder(name: Decoder) -> None:
    """Decode with it from now on, also in the processes that are started from here."""
    os.environ[VARIABLE] = name


def chosen_decoder() -> Decoder:
    """The decoder of $REPFLOW_DECODER, or the first one that is installed.

    Errors: UserError for an unknown name, and where it is not installed, or none is.
    """
    asked = os.environ.get(VARIABLE)
    if asked and asked not in MODULES:
        raise unknown("decoder", asked, MODULES)
    for name in MODULES:
        if asked in (None, "", name) and is_installed(MODULES[name]):
            return name
    if not asked:
        raise UserError(f"no decoder of videos is installed; run: {command('video')}.")
    others = [f", or choose the decoder {name}" for name in MODULES if is_installed(MODULES[name])]
    raise UserError(
        f"{asked} is not installed; run: {command(extra_of(MODULES[asked]))}{''.join(others)}."
    )


def probe(path: Path) -> Probe:
    """Decode a file from end to end and say what is in it.

    The frames are counted with PyAV where it is installed, also where decord is chosen, which then
    reads them too: it says how many frames a file lists, and repeats the last one where they have
    ended, so its own count is too high for packed B-frames and it cannot tell a file that was cut
    off from a shorter one; and only decord can tell that decord reads the file.

    Errors: DecodeError for a file that is empty, damaged, truncated, no video, or not there.
    """
    decoder = chosen_decoder()
    try:
        if path.stat().st_size == 0:
            raise DecodeError(f"{path}: the file is empty")
        counted = decode_pyav.probe(path) if is_installed("av") else None
        if decoder == "pyav" and counted is not None:
            return counted
        return _probe_decord(path, counted)
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror or error}") from error


def read_frames(
    path: Path, indices: Sequence[int], access: Access = "read", decoder: Decoder | None = None
) -> npt.NDArray[np.uint8]:
    """The frames at `indices` (any order, repeats allowed), RGB, uint8 [n, height, width, 3].

    Args:
        access: the fastest way that `probe` found to be right for this file.
        decoder: None for the chosen one.

    Errors: DecodeError where the file cannot be read or has no such frame.
    """
    if not len(indices) or min(indices) < 0:
        raise ValueError("read_frames needs at least one index, none of them negative")
    if (decoder or chosen_decoder()) == "pyav":
        return decode_pyav.read_frames(path, indices, access)
    return _read_decord(path, indices, access)


Read = tuple[Path, list[int], Access]
"""(file, frames, how they may be reached)."""


def time_reads(reads: Sequence[Read]) -> float:
    """Seconds that decord alone takes for these, one after the other, after a first one."""
    for path, indices, access in reads[:1]:
        read_frames(path, indices, access, "decord")
    begin = time.perf_counter()
    for path, indices, access in reads:
        read_frames(path, indices, access, "decord")
    return time.perf_counter() - begin


def _probe_decord(path: Path, counted: Probe | None) -> Probe:
    """What decord makes of a file, as far as it goes after what PyAV counted."""
    reader = _open(path)
    shown = shown_at(path)
    frames = counted.frames if counted else len(reader if shown is None else shown)
    sums = []
    with _named(path, "read"):
        for frame in itertools.islice(at_places(_every(reader), shown), frames):
            sums.append(zlib.crc32(frame.data))
        if len(sums) < frames:
            raise DecodeError(f"{path}: decord finds {len(sums)} of {frames} frames")
        height, width = frame.shape[:2]
        seeks = shown is None and (counted is None or counted.access == "seek")
        seeks = seeks and _seeks(path, sums)
        fps = counted.fps if counted else _rate(reader, shown)
    if frame.shape[2] != 3:  # narrower than its padding: decord mistakes the one for the other
        raise DecodeError(f"{path}: decord cannot read a video {width} pixels wide; choose pyav")
    if counted and decode_pyav.mirrors(path):
        raise DecodeError(f"{path}: decord does not mirror it as it asks for; choose pyav")
    return Probe(frames, fps, width, height, "seek" if seeks else "read")


def _every(reader: decord.VideoReader) -> Iterator[npt.NDArray[np.uint8]]:
    while True:
        try:
            yield reader.next().asnumpy()
        except StopIteration:
            return


def _rate(reader: decord.VideoReader, shown: Sequence[int] | None) -> float:
    """Of AVIs decord knows no times but odd ones, and they have one rate."""
    said = float(reader.get_avg_fps())
    times = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    if shown is not None or not (np.diff(times) > 0).all():
        return said
    return decode_pyav.rate(said, len(times), float(times[-1] - times[0]))


def _seeks(path: Path, sums: Sequence[int]) -> bool:
    """Whether the frames have these check sums when they are sought, as a clip's are.

    From every keyframe on (or 16 of them) clips are read that start there, just before the next
    keyframe, and in between.
    """
    keys = list(_open(path).get_key_indices())
    ends = dict(zip(keys, [*keys[1:], len(sums)], strict=True))
    for key in decode_pyav.some(keys):
        middle = (key + ends[key]) // 2
        for start, step in ((key, 1), (middle, 2), (ends[key] - 1, 5)):
            clip = [start + k * step for k in range(4) if start + k * step < len(sums)]
            frames = _read_decord(path, clip, "seek")
            if any(zlib.crc32(f.data) != sums[i] for f, i in zip(frames, clip, strict=True)):
                return False
    return True


def _read_decord(path: Path, indices: Sequence[int], access: Access) -> npt.NDArray[np.uint8]:
    reader = _open(path)
    shown = shown_at(path) if access == "read" else None
    frames = len(reader if shown is None else shown)
    if max(indices) >= frames:
        raise DecodeError(f"{path}: no frame {max(indices)}, the file has {frames}")
    if shown is not None:
        indices = [shown[index] for index in indices]
    kept: dict[int, npt.NDArray[np.uint8]] = {}
    position = 0
    with _named(path, "read"):
        if access == "seek":
            keys = list(reader.get_key_indices())
            position = keys[bisect_right(keys, min(indices)) - 1]
            if position:
                reader.seek(position)
        for index in sorted(set(indices)):
            if access == "read":
                for _ in range(position, index):
                    reader.next()
            elif index > position:
                reader.skip_frames(index - position)
            kept[index] = reader.next().asnumpy()
            position = index + 1
    return np.stack([kept[index] for index in indices])


def _open(path: Path) -> decord.VideoReader:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    with _named(path, "open"):
        return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)


@contextmanager
def _named(path: Path, doing: str) -> Iterator[None]:
    """Errors: DecodeError with the end of decord's message; it begins with a place in C++."""
    try:
        yield
    except DecodeError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()).rsplit("Check failed:", 1)[-1].strip()[:120]
        reason = text or type(error).__name__
        raise DecodeError(f"{path}: decord cannot {doing} it: {reason}") from error
