"""Flow in eight bits: steps of 1/8 pixel around 128, so that 128 is exactly no motion, and rounding
is off by 1/16 pixel at most."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ZERO = 128
STEP = 1 / 8
"""Pixels per step of the 8-bit fields."""
BOUND = 127 * STEP
"""Pixels; longer motion is clipped."""


def to_bytes(field: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Pixels to steps of 1/8 pixel around 128, clipped at +-15.875 pixels."""
    steps = np.clip(np.round(field / STEP), -127, 127)
    return (steps + ZERO).astype(np.uint8)


def to_pixels(field: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The inverse of `to_bytes`."""
    pixels: npt.NDArray[np.float32] = (field.astype(np.float32) - ZERO) * np.float32(STEP)
    return pixels
