"""Whether two videos show the same: their pictures laid over each other where they fit best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow_pl.audit.candidates import Candidate
from repflow_pl.audit.likeness import CROPS, normalised, signatures
from repflow_pl.audit.resample import matrix
from repflow_pl.audit.thumbs import HEIGHT, WIDTH, Pictures
from repflow_pl.data.parallel import progress_bar

PICTURES = 6
"""Pairs of pictures that are compared closely, one of each video: for a moment, two drawn textures
or two people before a wall may look alike."""
HOPELESS = 0.3
"""Where the first of them is less alike, the others are not looked at."""
ZOOMS = (1.0, 0.95, 0.9, 0.85)
"""Share of one picture's side that the other one shows."""
REACH = 8
"""Pixels of a picture by which one may be shifted."""
PLAY = 2
"""Pixels by which a pair of pictures may be shifted otherwise than the others of its videos: a
camera may be held by hand."""
SIZE = (HEIGHT + 2 * REACH, WIDTH + 2 * REACH)
BATCH = 128
"""Pairs at once."""


@dataclass(frozen=True)
class Fit:
    """How one video lies over another."""

    likeness: float
    """Correlation of the details of their pictures, 1 at most."""
    places: tuple[tuple[int, int], ...]
    """The pictures that were compared, of the first video and the second, the nearest first."""


def fits(videos: Sequence[Pictures], pairs: Sequence[Candidate]) -> list[Fit]:
    """Compare the pictures, [n, h, w], of each pair of videos.

    Of the PICTURES pairs of pictures that are coarsely nearest, each picture once, the mean of the
    correlations at the zoom and the shift that are best for all of them.
    """
    found = []
    with progress_bar("Comparing closely", len(pairs)) as advance:
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            asked = [_asked(videos, pair) for pair in batch]
            first = torch.stack([ours for ours, _, _ in asked])
            second = torch.stack([theirs for _, theirs, _ in asked])
            likeness = closest(first[:, :1], second[:, :1])
            hopeful = torch.nonzero(likeness > HOPELESS).flatten()
            if len(hopeful):
                likeness[hopeful] = closest(first[hopeful], second[hopeful])
            for each, (_, _, places) in zip(likeness.tolist(), asked, strict=True):
                found.append(Fit(each, places))
                advance()
    return found


def _asked(
    videos: Sequence[Pictures], pair: Candidate
) -> tuple[Tensor, Tensor, tuple[tuple[int, int], ...]]:
    """[PICTURES, h, w] of each of two videos, normalised, the second one mirrored where it is to
    be, and their places: where they are few, some are there twice."""
    first, second = normalised(videos[pair.first]), normalised(videos[pair.second])
    if pair.mirrored:
        second = second.flip(-1)
    places = _nearest(first, second)
    ours, theirs = zip(*(places[k % len(places)] for k in range(PICTURES)), strict=True)
    return first[list(ours)], second[list(theirs)], tuple(places)


def closest(first: Tensor, second: Tensor) -> Tensor:
    """[n, k, h, w] and the same: the largest correlation, [n], over zooms of either and over shifts
    of REACH or less, of what lies in both.

    The k pictures of a pair of videos have one zoom and one shift, up to PLAY, as those of a
    cropped copy have; of other videos each would fit best at its own.
    """
    ours = [_spectrum(zoomed(first, zoom)) for zoom in ZOOMS]
    theirs = [_spectrum(zoomed(second, zoom)) for zoom in ZOOMS]
    mask = torch.fft.rfft2(torch.ones(HEIGHT, WIDTH), SIZE)
    energy = [_shifts(squares, mask) for _, squares in ours]
    others = [_shifts(mask, squares) for _, squares in theirs]
    best = first.new_full((len(first),), -1.0)
    inner = range(1, len(ZOOMS))
    for k, j in ((0, 0), *((k, 0) for k in inner), *((0, j) for j in inner)):
        norm = (energy[k].clamp(min=0) * others[j].clamp(min=0)).sqrt().clamp(min=1.0)
        likeness = _shifts(ours[k][0], theirs[j][0]) / norm
        likeness = F.max_pool2d(likeness, 2 * PLAY + 1, 1, PLAY).mean(1)
        best = torch.maximum(best, likeness.flatten(1).amax(1))
    return best


def zoomed(pictures: Tensor, zoom: float) -> Tensor:
    """The middle of pictures as large as the whole."""
    if zoom == 1:
        return pictures
    ends = (1 - zoom) / 2, (1 + zoom) / 2
    rows = torch.from_numpy(matrix(HEIGHT, HEIGHT, *ends))
    columns = torch.from_numpy(matrix(WIDTH, WIDTH, *ends))
    return rows @ pictures @ columns.T


def _spectrum(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pictures and of their squares."""
    return torch.fft.rfft2(pictures, SIZE), torch.fft.rfft2(pictures.square(), SIZE)


def _shifts(first: Tensor, second: Tensor) -> Tensor:
    """Spectra of [n, h, w] -> the products at all shifts, [n, 2 * REACH + 1, 2 * REACH + 1]."""
    every: Tensor = torch.fft.irfft2(first.conj() * second, SIZE).roll((REACH, REACH), (-2, -1))
    return every[..., : 2 * REACH + 1, : 2 * REACH + 1]


def _nearest(first: Tensor, second: Tensor) -> list[tuple[int, int]]:
    """The coarsely nearest pictures of two videos, each once."""
    ours, theirs = signatures(first, CROPS[0]), signatures(second, CROPS[0])
    likeness = torch.stack(
        [signatures(first, crop) @ theirs.T for crop in CROPS]
        + [ours @ signatures(second, crop).T for crop in CROPS[1:]]
    ).amax(0)
    pairs = []
    for _ in range(min(PICTURES, *likeness.shape)):
        k, j = divmod(int(likeness.argmax()), likeness.shape[1])
        pairs.append((k, j))
        likeness[k] = -2
        likeness[:, j] = -2
    return pairs
