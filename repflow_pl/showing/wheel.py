"""Flow as colours, by torchvision's wheel (Baker et al., IJCV 2011): hue is direction, saturation
is length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.utils import flow_to_image

Picture = npt.NDArray[np.uint8]


def flow_pictures(fields: Tensor, longest: float) -> Picture:
    """Fields [B, 2, H, W], x before y, as uint8 [B, H, W, 3]; no motion is white.

    A vector of `longest` pixels or more has the full colour in every picture: torchvision by itself
    scales those of a call to their longest vector, and a film would flicker.
    """
    lengths = fields.norm(dim=1, keepdim=True)
    within = fields * (longest / lengths.clamp(min=longest))
    measure = torch.zeros_like(within[:, :, :1])
    measure[:, 0] = longest  # a line that has the longest vector, and is cut off again
    coloured = flow_to_image(torch.cat([within, measure], dim=2))[:, :, :-1]
    pictures: Picture = coloured.permute(0, 2, 3, 1).contiguous().numpy()
    return pictures


def colour_wheel(size: int) -> Picture:
    """The legend, [size, size, 3]: a vector from the middle to a point has the point's colour."""
    way = torch.linspace(-1, 1, size)
    field = torch.stack(torch.meshgrid(way, way, indexing="xy"))
    wheel: Picture = flow_pictures(field[None], 1.0)[0]
    wheel[(field.norm(dim=0) > 1).numpy()] = 255
    return wheel
