"""Pictures at another size, bit for bit the same whether a processor has AVX or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear and anti-aliased: [n, C, H, W], bytes or floats, on the CPU -> [n, C, *size].

    Bytes stay bytes all the way. torchvision's resize takes them through floats on some processors,
    so that a pixel may be 1 of 255 away; and its import takes as long as torch's.
    """
    from torch.nn.functional import interpolate

    return interpolate(pictures, size, mode="bilinear", antialias=True)
