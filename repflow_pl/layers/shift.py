"""Temporal shift: features that look one frame back or ahead, without a multiplication.

Lin, Gan and Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019,
Section 3: a convolution over frames, w1 X(t - 1) + w2 X(t) + w3 X(t + 1), is a shift of X and a
product. The shift is made here, of some channels; the product is that of the 2D convolution which
follows.
"""

from __future__ import annotations

import torch
from torch import Tensor

DIVISOR = 8
"""One channel of so many comes from the next frame and one from the frame before: together the
quarter that Lin et al. found best ("partial shift")."""


def temporal_shift(clip: Tensor) -> Tensor:
    """The bi-directional shift of Lin et al.: [B, C, T, H, W] -> the same shape.

    Of C channels the first C // 8 are the next frame's and the second C // 8 those of the frame
    before, zero where the clip has no such frame; the others stay.
    """
    fold = clip.shape[1] // DIVISOR
    shifted = torch.zeros_like(clip)  # in the same layout, so that its frames are a view, too
    shifted[:, :fold, :-1] = clip[:, :fold, 1:]
    shifted[:, fold : 2 * fold, 1:] = clip[:, fold : 2 * fold, :-1]
    shifted[:, 2 * fold :] = clip[:, 2 * fold :]
    return shifted
