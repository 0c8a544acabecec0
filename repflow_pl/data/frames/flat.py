"""Many uint8 arrays in one memory-mapped file, which knows of each what it was made from."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repflow_pl.files import unwritable

STAMP = 8
"""Bytes of a stamp."""
NONE = bytes(STAMP)


@dataclass(frozen=True)
class FlatArrays:
    """Arrays laid end to end in a file, in the order of `shapes`, and behind them a stamp for each:
    8 bytes that tell from what it was made, or NONE where it was not written. Any number of
    processes may read and write at once."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each array by its key."""
    offsets: Mapping[str, int]
    """First byte of each array."""
    stamps: Mapping[str, int]
    """First byte of each array's stamp."""
    nbytes: int
    """Size of all arrays."""

    @classmethod
    def at(cls, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> FlatArrays:
        """The layout of a file, which need not be there yet."""
        *begins, end = itertools.accumulate(map(prod, shapes.values()), initial=0)
        offsets = dict(zip(shapes, begins, strict=True))
        stamps = {key: end + STAMP * k for k, key in enumerate(shapes)}
        return cls(path, shapes, offsets, stamps, end)

    @property
    def is_laid_out(self) -> bool:
        """Whether the file is there, with room for all arrays."""
        try:
            return self.path.stat().st_size == self._size
        except FileNotFoundError:
            return False

    def stamp(self, key: str) -> bytes:
        """With which stamp an array was written; NONE where it was not."""
        try:
            whole = _mapped(self.path)
        except FileNotFoundError:
            return NONE
        begin = self.stamps[key]
        told = whole[begin : begin + STAMP] if len(whole) == self._size else b""
        return bytes(told) or NONE

    def write(self, key: str, array: npt.NDArray[np.uint8], stamp: bytes) -> None:
        """Put an array in its place, which has no stamp meanwhile; a file of another length, as an
        older one is, is mended.

        Errors: UserError where the file cannot be written.
        """
        if array.shape != self.shapes[key] or array.dtype != np.uint8:
            expected = f"expected uint8 {self.shapes[key]}, got {array.dtype} {array.shape}"
            raise ValueError(f"{key}: {expected}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as stream:
                # New bytes are zero: what was not written does not count as there.
                os.ftruncate(stream.fileno(), self._size)
                stream.seek(self.stamps[key])
                stream.write(NONE)
                stream.seek(self.offsets[key])
                stream.write(np.ascontiguousarray(array).data)
                stream.flush()
                os.fsync(stream.fileno())  # on the disk before its stamp
                stream.seek(self.stamps[key])
                stream.write(stamp)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def read(self, key: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """A copy of some rows of one array that the file holds.

        The object holds no handle, so it travels to worker processes as it is.
        """
        shape, begin = self.shapes[key], self.offsets[key]
        array = _mapped(self.path)[begin : begin + prod(shape)].reshape(shape)
        return array[np.asarray(rows, dtype=np.intp)]

    @property
    def _size(self) -> int:
        return self.nbytes + STAMP * len(self.stamps)


def _mapped(path: Path) -> npt.NDArray[np.uint8]:
    """The whole file, mapped once in each process: to map it for each clip takes as long as the
    clip's copy does. Another file in its place, or one that has grown, is another to it."""
    status = path.stat()
    return _map(path, status.st_dev, status.st_ino, status.st_size)


@functools.lru_cache(maxsize=8)
def _map(path: Path, device: int, inode: int, size: int) -> npt.NDArray[np.uint8]:
    return np.asarray(np.memmap(path, np.uint8, "r")) if size else np.empty(0, np.uint8)
