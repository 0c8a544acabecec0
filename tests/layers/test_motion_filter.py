"""MFNet's filter against shifts in NumPy, and the block around it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from repflow_pl.layers.motion_filter import DIRECTIONS, MotionBlock, motion_filter


def displaced(plane: npt.NDArray[np.float64], right: int, down: int) -> npt.NDArray[np.float64]:
    """plane(x + right, y + down), zero outside, one pixel after the other."""
    height, width = plane.shape
    out = np.zeros_like(plane)
    for y, x in np.ndindex(height, width):
        if 0 <= y + down < height and 0 <= x + right < width:
            out[y, x] = plane[y + down, x + right]
    return out


def test_the_five_directions_are_the_centre_and_its_neighbours() -> None:
    assert set(DIRECTIONS) == {(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)}


def test_the_filter_is_shift_and_subtract() -> None:
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64)
    out = motion_filter(x)
    assert out.shape == (2, 15, 3, 5, 6)
    for d, (right, down) in enumerate(DIRECTIONS):
        for n, c, t in np.ndindex(2, 3, 3):
            expected = displaced(x[n, c, t + 1].numpy(), right, down) - x[n, c, t].numpy()
            np.testing.assert_array_equal(out[n, 3 * d + c, t].numpy(), expected)


def test_a_motion_vanishes_in_its_own_direction_alone() -> None:
    texture = torch.randn(20, 20)
    for d, (right, down) in enumerate(DIRECTIONS):
        moved = torch.stack([texture.roll((t * down, t * right), (0, 1)) for t in range(3)])
        out = motion_filter(moved[None, None])[0, :, :, 4:-4, 4:-4]
        still = [k for k in range(len(DIRECTIONS)) if (out[k] == 0).all()]
        assert still == [d]


def test_the_block_adds_motion_and_leaves_the_last_frame() -> None:
    torch.manual_seed(0)
    block, x = MotionBlock(8, reduction=4).eval(), torch.randn(2, 8, 4, 5, 6)
    assert block.reduce.out_channels == 2
    out = block(x)
    motion = block.norm(block.expand(motion_filter(block.reduce(x))))
    torch.testing.assert_close(out[:, :, :-1], x[:, :, :-1] + motion)
    assert torch.equal(out[:, :, -1], x[:, :, -1])
