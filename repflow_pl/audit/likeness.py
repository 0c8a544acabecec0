"""How alike two pictures are, whatever their brightness and contrast, cropped or mirrored."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from repflow_pl.audit.resample import matrix
from repflow_pl.audit.thumbs import HEIGHT, WIDTH, Pictures

BLUR = 4.0
"""Pixels: half the width of what counts as a place's surroundings."""
FLOOR = 8.0
"""Grey levels of contrast below which a place counts as flat."""
ROWS, COLUMNS = 12, 16
"""Of a signature."""
KEPT = 0.9
"""Of a side in a cropped variant."""
Crop = tuple[float, float, float, float]
"""(top, bottom, left, right), as shares of the picture."""
CROPS: tuple[Crop, ...] = (
    (0.0, 1.0, 0.0, 1.0),
    *(
        (top, top + KEPT, left, left + KEPT)
        for top, left in ((0.05, 0.05), (0, 0), (0, 0.1), (0.1, 0), (0.1, 0.1))
    ),
)
"""The variants of a picture that are looked for, the whole first."""


def normalised(pictures: Pictures) -> Tensor:
    """[n, HEIGHT, WIDTH], grey: what differs from its surroundings, in units of their contrast."""
    grey = torch.from_numpy(pictures).float()
    detail = grey - blurred(grey)
    contrast = blurred(detail.square()).sqrt()
    return detail / contrast.clamp(min=FLOOR)


def blurred(pictures: Tensor) -> Tensor:
    """By a Gaussian of BLUR pixels: [n, HEIGHT, WIDTH] of the same."""
    return _gaussian(HEIGHT) @ pictures @ _gaussian(WIDTH).T


def signatures(detail: Tensor, crop: Crop, mirrored: bool = False) -> Tensor:
    """Small unit vectors, [n, ROWS * COLUMNS], of a part of normalised pictures: their product is
    a correlation."""
    top, bottom, left, right = crop
    if mirrored:
        left, right = right, left
    rows = torch.from_numpy(matrix(ROWS, HEIGHT, top, bottom))
    columns = torch.from_numpy(matrix(COLUMNS, WIDTH, left, right))
    small = (rows @ detail @ columns.T).flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)


@cache
def _gaussian(size: int) -> Tensor:
    at = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * BLUR**2))
    return weights / weights.sum(1, keepdim=True)
