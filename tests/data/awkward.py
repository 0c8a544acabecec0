"""What a decoder may do, in a module that a child process imports quickly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from repflow_pl.data.decoding.decode import probe
from repflow_pl.data.decoding.decode_pyav import DecodeError, Probe
from repflow_pl.data.frames.cache import DecodedFrames
from repflow_pl.data.frames.reader import Frames
from repflow_pl.data.index import Video


def awkward(number: int) -> int:
    """Twice the number; 13 hangs, 14 dies, 15 raises."""
    if number == 13:
        time.sleep(1000)
    if number == 14:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 15:
        raise ValueError("an odd number")
    print("libraries print things")
    return 2 * number


def open_and_probe(path: Path) -> Probe:
    """`probe` after an opening that a named pipe without a writer lets hang."""
    path.open("rb").close()
    return probe(path)


def obey(argument: tuple[str, int]) -> int:
    """What a file may do to a decoder."""
    how, number = argument
    if how == "error":
        raise ValueError(number)
    if how == "death":
        os._exit(3)
    if how == "hang":
        time.sleep(1000)
    return number


class AwkwardFrames(DecodedFrames):
    """The frames of videos whose names say what they do to a decoder."""

    def read(self, video: Video, indices: Sequence[int]) -> Frames:
        if "error" in video.path:
            raise DecodeError(f"{video.path}: damaged")
        obey((Path(video.path).stem.split("-")[-1], 0))
        return super().read(video, indices)
