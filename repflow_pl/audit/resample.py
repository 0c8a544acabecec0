"""Pictures at another size, of a part of them, or mirrored: all are two small matrices."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@cache
def matrix(new: int, old: int, first: float = 0.0, last: float = 1.0) -> Floats:
    """[new, old]: takes `old` samples to `new` ones over the part from `first` to `last`.

    The filter is a tent, as wide as a new sample or an old one, whichever is the wider; `first`
    after `last` mirrors, and what lies outside repeats the edge.
    """
    step = (last - first) * old / new
    centres = first * old + (np.arange(new) + 0.5) * step - 0.5
    width = max(1.0, abs(step))
    reach = int(np.ceil(width)) + 1
    found = np.zeros((new, old), np.float32)
    for row, centre in enumerate(centres):
        places = np.arange(int(np.floor(centre)) - reach, int(np.ceil(centre)) + reach + 1)
        weights = np.clip(1 - np.abs(places - centre) / width, 0, None)
        np.add.at(found[row], np.clip(places, 0, old - 1), weights / weights.sum())
    return found


def resample(pictures: npt.NDArray[np.uint8] | Floats, size: tuple[int, int]) -> Floats:
    """[..., h, w] -> [..., *size]."""
    rows, columns = (matrix(n, o) for n, o in zip(size, pictures.shape[-2:], strict=True))
    made: Floats = rows @ pictures.astype(np.float32) @ columns.T
    return made
