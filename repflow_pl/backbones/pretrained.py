"""torchvision's weights for our backbones: inflated, fitted to the input's channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import GoogLeNet_Weights, WeightsEnum

from repflow_pl.errors import UserError
from repflow_pl.weights import State

Input = Literal["pixels", "differences", "fields"]
"""What a network sees: RGB in -1..1 of one frame or of several side by side, differences of such
pixels, or what is no pixels, as optical flow."""

_HEADS = ("fc.", "classifier.", "aux1.", "aux2.")
"""torchvision's modules behind the features; ours are trained anew for the data set's classes."""

NEW = "nonlocal"
"""In the name of a module that the pretrained network does not have."""


class Standardise(nn.Module):
    """Pixels in -1..1, as every network here gets them, to (p - mean) / std with p in 0..1.

    Shapes: [B, C, T, H, W] -> the same, for C values of `mean` and `std`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        m, s = torch.tensor(mean).view(-1, 1, 1, 1), torch.tensor(std).view(-1, 1, 1, 1)
        self.register_buffer("scale", 0.5 / s, persistent=False)
        self.register_buffer("shift", (0.5 - m) / s, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels * self.scale + self.shift


def standardise(weights: WeightsEnum, channels: int, sees: Input) -> nn.Module:
    """What scales an input of so many channels as the weights expect it.

    Pixels of several frames side by side are scaled like those of one. Differences have lost the
    mean, so they are divided by the deviation alone. Fields stay as they are, and so does what
    cannot be RGB, having no three channels for each frame.
    """
    if sees == "fields" or channels % 3:
        return nn.Identity()
    mean, std = expected_pixels(weights)
    if sees == "differences":
        mean = (0.5,) * 3  # the middle of 0..1, which is 0 in -1..1: no shift
    frames = channels // 3
    return Standardise(list(mean) * frames, list(std) * frames)


def expected_pixels(weights: WeightsEnum) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation, of pixels in 0..1, that the weights were trained with."""
    if isinstance(weights, GoogLeNet_Weights):
        # Its transforms say ImageNet's, which the network itself undoes (`transform_input`).
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    transforms = weights.transforms()
    return transforms.mean, transforms.std


def load(stages: nn.Module, state: State, name: str) -> None:
    """Put a pretrained network's tensors into the stages it was cut into.

    Cutting a network keeps the order of its tensors, so they are matched by it; heads, and modules
    with NEW in their name, are left out. A tensor with one dimension more than the pretrained one
    gets it inflated, and the first convolution may have other input channels.

    Errors: UserError where the numbers or shapes of the tensors do not agree.
    """
    ours = {key: value for key, value in stages.state_dict().items() if _counts(key)}
    theirs = [v for key, v in state.items() if _counts(key) and not key.startswith(_HEADS)]
    fitted = [fit(t, o.shape) for t, o in zip(theirs, ours.values(), strict=False)]
    if len(theirs) != len(ours) or any(
        f.shape != o.shape for f, o in zip(fitted, ours.values(), strict=True)
    ):
        raise UserError(f"the file of {name} does not hold that network's weights: delete it.")
    if not any(value.is_meta for value in ours.values()):  # a network of shapes alone has no values
        stages.load_state_dict(dict(zip(ours, fitted, strict=True)), strict=False)


def fit(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A pretrained tensor as ours: inflated in time, and over other input channels than RGB.

    Other channels each get the mean of the RGB filters (Wang et al., "Temporal Segment Networks",
    ECCV 2016, Section 3.2). What fits neither way comes back as it is.
    """
    if tensor.dim() == 4 and len(shape) == 5:
        tensor = inflate(tensor, shape[2])
    if tensor.dim() == len(shape) >= 4 and tensor.shape[1] == 3 != shape[1]:
        tensor = tensor.mean(1, keepdim=True).repeat_interleave(shape[1], 1)
    return tensor


def inflate(kernel: Tensor, time: int) -> Tensor:
    """[O, I, H, W] -> [O, I, time, H, W] with the same answer to a clip of equal frames.

    Carreira and Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017), Section 2.4.
    """
    return kernel[:, :, None].repeat(1, 1, time, 1, 1) / time


def _counts(key: str) -> bool:
    return NEW not in key and not key.endswith("num_batches_tracked")
