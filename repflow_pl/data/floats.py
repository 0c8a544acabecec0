"""Clips as a loader gives them, in bytes, become what networks compute with."""

from __future__ import annotations

import torch
from torch import Tensor

from repflow_pl.data.fields.eight_bit import STEP, ZERO


def to_float(stream: Tensor) -> Tensor:
    """uint8 [B, C, T, H, W] -> float32 around 0, contiguous, on the stream's device.

    Pixels (C = 3) become 2x/255 - 1 (the released code uses its negative), TV-L1 fields (C = 2, or
    4 for fields of fields) become pixels per frame.
    """
    # Batches have their channels last, in which layout convolutions would end in other last bits.
    values = stream.to(torch.float32, memory_format=torch.contiguous_format)
    if stream.shape[1] != 3:
        return (values - ZERO) * STEP
    return values / 127.5 - 1
