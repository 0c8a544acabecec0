"""Spatial transforms of clips, on uint8 tensors.

Pictures become floats only on the device that computes with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repflow_pl.data.fields.eight_bit import ZERO
from repflow_pl.data.frames.cache import resized


@dataclass(frozen=True)
class Window:
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def cut_frames(frames: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    """The window of every frame, resized to `size`: uint8 [T, C, h, w] -> [T, C, *size]."""
    bottom, right = window.top + window.height, window.left + window.width
    cut = frames[..., window.top : bottom, window.left : right]
    return cut if cut.shape[-2:] == size else resized(cut, size)


def cut_fields(fields: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    """`cut_frames` of TV-L1 fields [T, 2 or 4, h, w]: what is shown larger moves faster, too."""
    cut = cut_frames(fields, window, size)
    if (window.height, window.width) == size:
        return cut
    both = torch.tensor([size[1] / window.width, size[0] / window.height])
    factors = both.repeat(fields.shape[1] // 2)[:, None, None]
    scaled = (cut.float() - ZERO) * factors
    return (scaled.round().clamp(-127, 127) + ZERO).to(torch.uint8)


def mirror_fields(fields: Tensor) -> Tensor:
    """[T, 2, h, w], left and right exchanged, and with them the sign of the flow in x.

    Of fields of fields, [T, 4, h, w], the flow of the x-component is that of its negative too.
    """
    mirrored = fields.flip(-1)
    # 0 is no field that `to_bytes` makes; its opposite would not fit into a byte.
    opposite = (2 * ZERO - mirrored[:, 0::2].short()).clamp(max=255)
    mirrored[:, 0::2] = opposite.to(torch.uint8)
    return mirrored


def centre(height: int, width: int, crop: tuple[int, int]) -> Window:
    """The window of size `crop` in the middle."""
    return Window((height - crop[0]) // 2, (width - crop[1]) // 2, *crop)


def spread(height: int, width: int, crop: tuple[int, int], count: int) -> Sequence[Window]:
    """`count` windows, from one end of the side with more room to the other; one is the centre."""
    middle = centre(height, width, crop)
    if count == 1:
        return [middle]
    down, right = height - crop[0], width - crop[1]
    places = [k / (count - 1) for k in range(count)]
    if down > right:
        return [Window(round(p * down), middle.left, *crop) for p in places]
    return [Window(middle.top, round(p * right), *crop) for p in places]
