"""Many uint8 arrays in one memory-mapped file, shared by all processes and runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from repflow_pl.files import atomic_write


@dataclass(frozen=True)
class FlatArrays:
    """Arrays laid end to end in a file, in the order of `shapes`."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each array by its key."""
    offsets: Mapping[str, int]
    """First byte of each array."""

    @classmethod
    def at(cls, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> FlatArrays:
        """The layout of a file, which need not be there yet."""
        offsets = {}
        end = 0
        for key, shape in shapes.items():
            offsets[key] = end
            end += prod(shape)
        return cls(path, shapes, offsets)

    @property
    def bytes(self) -> int:
        """Size of the whole file."""
        return sum(prod(shape) for shape in self.shapes.values())

    def is_written(self) -> bool:
        """Whether the file is there, in its full length."""
        return self.path.is_file() and self.path.stat().st_size == self.bytes

    def write(self, arrays: Iterable[npt.NDArray[np.uint8]]) -> None:
        """Fill the file; `arrays` come in the order of `shapes`. Whole or absent."""
        with atomic_write(self.path, "wb") as stream:
            for (key, shape), array in zip(self.shapes.items(), arrays, strict=True):
                if array.shape != shape or array.dtype != np.uint8:
                    raise ValueError(
                        f"{key}: expected uint8 {shape}, got {array.dtype} {array.shape}"
                    )
                stream.write(np.ascontiguousarray(array).data)

    def read(self, key: str, rows: Sequence[int]) -> npt.NDArray[np.uint8]:
        """A copy of some rows of one array.

        The file is mapped anew each time, which takes microseconds: so the object holds no handle
        and travels to worker processes as it is.
        """
        shape = self.shapes[key]
        array = np.memmap(self.path, np.uint8, "r", self.offsets[key], shape)
        return np.asarray(array[np.asarray(rows, dtype=np.intp)])
