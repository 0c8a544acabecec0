"""Dropped frames of AVI files: places in time that hold no picture.

A program that captures and is too slow writes a chunk of no bytes, which means that the frame
before it is shown on. Decoders pass over it, so that everything after it would come too early.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Frame = TypeVar("Frame")

ENTRY = np.dtype(
    [("stream", "S2"), ("kind", "S2"), ("flags", "<u4"), ("offset", "<u4"), ("size", "<u4")]
)
"""Of the index, one for each chunk."""


def shown_at(path: Path) -> list[int] | None:
    """Which of an AVI's pictures is shown at each place, by its index; None for any other file,
    and where every place has its own.

    A place before the first picture shows that one. The index of a file that was cut off is gone,
    and that of one above a gigabyte is in parts, which are not read.
    """
    index = _index(path)
    if index is None:
        return None
    video = index[np.isin(index["kind"], (b"dc", b"db"))]
    there = video["size"][video["stream"] == np.unique(video["stream"])[:1]] > 0
    if there.all() or not there.any():
        return None
    shown: list[int] = np.maximum(np.cumsum(there) - 1, 0).tolist()
    return shown


def at_places(pictures: Iterable[Frame], shown: Sequence[int] | None) -> Iterator[Frame]:
    """The picture at each place, until there are no more; see `shown_at`."""
    if shown is None:
        yield from pictures
        return
    numbered = enumerate(pictures)
    number = -1
    for wanted in shown:
        while number < wanted:
            try:
                number, picture = next(numbered)
            except StopIteration:
                return
        yield picture


def _index(path: Path) -> npt.NDArray[np.void] | None:
    """The entries of `idx1`."""
    found = None
    with path.open("rb") as stream:
        head = stream.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"AVI ":
            return None
        while len(header := stream.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"RIFF":  # the next gigabyte, with an index of its own
                return None
            if name == b"idx1" and found is None:
                content = stream.read(size)
                found = np.frombuffer(content, ENTRY, len(content) // ENTRY.itemsize)
                stream.seek(size % 2, 1)
            else:
                stream.seek(size + size % 2, 1)
    return found
