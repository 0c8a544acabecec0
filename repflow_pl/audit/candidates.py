"""Pairs of videos that may show the same: those whose few coarse pictures are nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from repflow_pl.audit.likeness import CROPS, normalised, signatures
from repflow_pl.audit.thumbs import Pictures
from repflow_pl.data.parallel import progress_bar

ASKED = 8
"""Pictures of a video that are looked for in all of every other one."""
BEST = 2
"""Of them that count, the best ones: a scene may be seen for a part of a video only."""
NEAREST = 24
"""Videos that a video is compared with closely."""
LEAST = 0.65
"""Of a coarse likeness, 1 at most, for a pair to be compared closely."""
BLOCK = 32
"""Videos that are asked about at once."""


@dataclass(frozen=True, order=True)
class Candidate:
    """Two videos by their places in the list, `first` before `second`."""

    first: int
    second: int
    mirrored: bool
    score: float


def candidates(videos: Sequence[Pictures]) -> list[Candidate]:
    """Pairs of videos, each given as its pictures, [n, h, w].

    A video is looked for cropped and mirrored, so either of a pair may be the copy. The pictures
    of one are compared with all of the other's, whatever their times.
    """
    counts = torch.tensor([len(each) for each in videos])
    starts = (counts.cumsum(0) - counts).numpy()
    whole = torch.cat([signatures(normalised(each), CROPS[0]) for each in videos])
    best: dict[tuple[int, int, bool], float] = {}
    with progress_bar("Comparing", len(videos)) as advance:
        for start in range(0, len(videos), BLOCK):
            block = videos[start : start + BLOCK]
            asked = normalised(np.concatenate([_spread(each) for each in block]))
            for mirrored in (False, True):
                found = torch.full((len(block), len(videos)), -1.0)
                for crop in CROPS:
                    likeness = signatures(asked, crop, mirrored) @ whole.T
                    found = torch.maximum(found, _of_videos(likeness, starts))
                _keep(found, start, mirrored, best)
            for _ in block:
                advance()
    return sorted(
        Candidate(first, second, mirrored, score)
        for (first, second, mirrored), score in best.items()
    )


def _spread(pictures: Pictures) -> Pictures:
    """ASKED of a video's pictures, evenly spread; some come twice where there are fewer."""
    spread: Pictures = pictures[np.linspace(0, len(pictures) - 1, ASKED).round().astype(int)]
    return spread


def _of_videos(likeness: Tensor, starts: npt.NDArray[np.int64]) -> Tensor:
    """[videos asked * ASKED, pictures] -> [videos asked, videos], which begin at `starts`."""
    nearest = torch.from_numpy(np.maximum.reduceat(likeness.numpy(), starts, axis=1))
    of_videos: Tensor = nearest.unflatten(0, (-1, ASKED)).topk(BEST, dim=1).values.mean(1)
    return of_videos


def _keep(
    found: Tensor, start: int, mirrored: bool, best: dict[tuple[int, int, bool], float]
) -> None:
    """Add the nearest videos of those from `start` on."""
    own = torch.arange(len(found))
    found[own, own + start] = -1.0
    scores, others = found.topk(min(NEAREST, found.shape[1]), dim=1)
    for row in own.tolist():
        for score, other in zip(scores[row].tolist(), others[row].tolist(), strict=True):
            if score >= LEAST:
                key = (min(row + start, other), max(row + start, other), mirrored)
                best[key] = max(best.get(key, 0.0), score)
