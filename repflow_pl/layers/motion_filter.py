"""The fixed motion filter of MFNet, and the block around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repflow_pl.layers.frames import check_counts, check_pairs

DIRECTIONS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
"""The displacements (right, down) in pixels of the features that are compared."""


class MotionBlock(nn.Module):
    """Adds to features what the motion filter sees between each frame and the next.

    Lee et al., "Motion Feature Network: Fixed Motion Filter for Action Recognition" (ECCV 2018),
    Section 3: 1x1 reduction, filter, 1x1 expansion with batch norm, element-wise sum with the
    appearance (the paper's MFNet-S; MFNet-C concatenates). The last frame has no next one and goes
    on as it is. No released code is known: the batch norm, the ratio of the reduction and the
    centre with its four neighbours as the set of directions are our reading.

    Shapes: [B, C, T, H, W] -> the same.
    Errors: UserError for other shapes, and for clips of one frame.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        check_counts(1, channels=channels, reduction=reduction)
        narrow = max(1, channels // reduction)
        self.reduce = nn.Conv3d(channels, narrow, kernel_size=1, bias=False)
        self.expand = nn.Conv3d(len(DIRECTIONS) * narrow, channels, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        check_pairs(x, self.reduce.in_channels, "MotionBlock")
        motion = self.norm(self.expand(motion_filter(self.reduce(x))))
        return x + F.pad(motion, (0, 0, 0, 0, 0, 1))


def motion_filter(x: Tensor) -> Tensor:
    """The next frame, shifted in each of DIRECTIONS, less the frame itself.

    At pixel (x, y) direction (dx, dy) gives next(x + dx, y + dy) - this(x, y): it is zero where the
    content moves by (dx, dy). Zeros lie outside the picture. A still clip gives zero in the first
    direction, which does not shift, and its spatial differences in the others.
    Shapes: [B, C, T, H, W] -> [B, 5 * C, T - 1, H, W], the directions one after the other.
    """
    height, width = x.shape[-2:]
    this, following = x[:, :, :-1], F.pad(x[:, :, 1:], (1, 1, 1, 1))
    return torch.cat(
        [
            following[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width] - this
            for right, down in DIRECTIONS
        ],
        1,
    )
