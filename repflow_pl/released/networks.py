"""The authors' released networks: (2+1)D ResNets with representation flow behind block 3.

Written after github.com/piergiaj/representation-flow-cvpr19: "fcf" is `flow_2p1d_resnets.py` at
commit b9dcb0a (the HMDB51 experiments), "kinetics" is `kinetics_2p1d_model.py` at ac5c3ff. What
looks odd below is what those files do, kept so that their weights give their scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.layers.frames import check_clips
from repflow_pl.specs import FLOW_PARAMETERS

Family = Literal["fcf", "kinetics"]
Make = Callable[[int, int, int, int], "Residual"]
"""(channels in, planes, stride, number of the block in its stage) -> residual block."""

DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Residual blocks in each stage: He et al. (CVPR 2016), Table 1."""

BASIC = (18, 34)
"""Depths made of basic blocks; the others, and all of "kinetics", are made of bottleneck blocks."""

MIN_FRAMES = 11
"""Fewer leave less behind block 3 than the flow layers need."""


@dataclass(frozen=True)
class ReleasedSpec:
    """Which released network, as plain values."""

    family: Family
    depth: int
    classes: int
    n_iter: int
    """Iterations of Alg. 1; a state dict does not tell them."""
    in_channels: int = 3

    def __post_init__(self) -> None:
        if self.family not in get_args(Family) or self.depth not in DEPTHS:
            raise ValueError(f"there is no released network {self.name}")
        if min(self.classes, self.in_channels) < 1 or self.n_iter < 0:
            raise ValueError("a network needs classes >= 1, in_channels >= 1 and n_iter >= 0")

    @property
    def source(self) -> str:
        """The authors' file that defines it."""
        return f"{'flow_2p1d_resnets' if self.family == 'fcf' else 'kinetics_2p1d_model'}.py"

    @property
    def name(self) -> str:
        """For example "fcf_resnet50"."""
        return f"{self.family}_resnet{self.depth}"


class ReleasedNetwork(nn.Module):
    """Class scores of clips: blocks 1 to 3, flow, blocks 4 and 5, mean, linear layer.

    `stages[k - 1]` is block k, the stem first. All of a batch's clips are normalised together in
    front of a flow, so for a score that depends on its own clip alone pass one clip at a time. The
    mean is over all of time and space. The released "fcf" first pools a window that is fixed when
    it is built: the same for its 112 pixels and, in time, for its default window of one frame.

    Shapes: [B, C, T, H, W] -> [B, classes], with T >= MIN_FRAMES.
    Errors: UserError for other shapes and shorter clips.
    """

    def __init__(self, spec: ReleasedSpec) -> None:
        super().__init__()
        self.spec = spec
        bottleneck = spec.family == "kinetics" or spec.depth not in BASIC
        widths = [planes * (4 if bottleneck else 1) for planes in (64, 128, 256, 512)]
        if spec.family == "fcf":
            make = _fcf_bottleneck if bottleneck else _fcf_basic
            self.stages = _stages(_fcf_stem(spec.in_channels), make, spec.depth, widths)
            self.flow: nn.Module = FlowStack(
                widths[1],
                layers=2,
                convolve=True,
                residual=True,
                n_iter=spec.n_iter,
                learn=FLOW_PARAMETERS,
                normalise="batch",
            )
        else:
            stem = _kinetics_stem(spec.in_channels)
            self.stages = _stages(stem, _kinetics_bottleneck, spec.depth, widths)
            self.flow = RepFlow(
                widths[1],
                n_iter=spec.n_iter,
                learn=FLOW_PARAMETERS,
                kernels="dense",
                normalise="batch",
                fuse="add",
            )
        self.dropout = nn.Dropout(0.3 if spec.family == "fcf" else 0.5)
        self.head = nn.Linear(widths[-1], spec.classes)

    def forward(self, clip: Tensor) -> Tensor:
        check_clips(clip, self.spec.in_channels, self.spec.name)
        if clip.shape[2] < MIN_FRAMES:
            raise UserError(
                f"{self.spec.name} needs clips of {MIN_FRAMES} frames or more, not {clip.shape[2]}."
            )
        for block, stage in enumerate(self.stages, start=1):
            clip = stage(clip)
            if block == 3:
                clip = self.flow(clip)
        scores: Tensor = self.head(self.dropout(clip.mean((2, 3, 4))))
        return scores


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)), the shortcut being x itself where none is given."""

    def __init__(self, branch: nn.Sequential, shortcut: nn.Sequential | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.shortcut(x))


class PadSame(nn.Module):
    """TensorFlow's "same" padding in front of an unpadded 3 x 3 (x 3) module of stride 1 or 2.

    The output has ceil(size / stride) pixels; what cannot be halved is padded at the end.
    Shapes: [B, C, T, H, W] -> padded in H and W, and in T with `time`.
    """

    def __init__(self, stride: int, time: bool = False) -> None:
        super().__init__()
        self.stride, self.time = stride, time

    def forward(self, x: Tensor) -> Tensor:
        padding: list[int] = []
        for size in reversed(x.shape[2 if self.time else 3 :]):
            total = 2 if size % self.stride or self.stride == 1 else 1
            padding += [total // 2, total - total // 2]
        return F.pad(x, padding)


def _stages(stem: nn.Module, make: Make, depth: int, widths: list[int]) -> nn.ModuleList:
    stages, channels = [stem], 64
    for k, (count, width) in enumerate(zip(DEPTHS[depth], widths, strict=True)):
        stage = nn.Sequential()
        for number in range(count):
            stride = 2 if k > 0 and number == 0 else 1
            stage.append(make(channels, 64 * 2**k, stride, number))
            channels = width
        stages.append(stage)
    return nn.ModuleList(stages)


def _fcf_stem(channels: int) -> nn.Sequential:
    """Without padding in time: the clip loses 6 frames, and half of the rest."""
    return nn.Sequential(
        nn.Conv3d(channels, 64, 7, (1, 2, 2), (0, 3, 3), bias=False),
        nn.BatchNorm3d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool3d(3, stride=2, padding=1),
    )


def _fcf_basic(channels: int, planes: int, stride: int, number: int) -> Residual:
    branch = nn.Sequential(
        _fcf_conv(channels, planes, 3, stride),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
        nn.Conv3d(planes, planes, 3, padding=1, bias=False),
        nn.BatchNorm3d(planes),
    )
    return Residual(branch, _fcf_shortcut(channels, planes, stride))


def _fcf_bottleneck(channels: int, planes: int, stride: int, number: int) -> Residual:
    branch = nn.Sequential(
        nn.Conv3d(channels, planes, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
        _fcf_conv(planes, planes, 3, stride),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
        nn.Conv3d(planes, 4 * planes, 1, bias=False),
        nn.BatchNorm3d(4 * planes),
    )
    return Residual(branch, _fcf_shortcut(channels, 4 * planes, stride))


def _fcf_shortcut(channels_in: int, channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels_in == channels:
        return None
    return nn.Sequential(_fcf_conv(channels_in, channels, 1, stride), nn.BatchNorm3d(channels))


def _fcf_conv(channels_in: int, channels: int, size: int, stride: int) -> nn.Conv3d:
    """1 x size x size. A stride holds for time too, with a frame of zeros at both ends."""
    padding = (int(stride > 1), size // 2, size // 2)
    return nn.Conv3d(channels_in, channels, (1, size, size), stride, padding, bias=False)


def _kinetics_stem(channels: int) -> nn.Sequential:
    """The convolution is not padded. Pooling pads with zeros, which a ReLU's output allows."""
    return nn.Sequential(
        nn.Conv3d(channels, 64, 7, stride=2, bias=False),
        nn.BatchNorm3d(64, eps=1e-3, momentum=0.01),
        nn.ReLU(inplace=True),
        PadSame(stride=2, time=True),
        nn.MaxPool3d(3, stride=2),
    )


def _kinetics_bottleneck(channels: int, planes: int, stride: int, number: int) -> Residual:
    """Only the first block of a stage, and every other one from the second on, sees neighbours
    in time. The first has a shortcut with two batch norms, as its weights need."""
    time = 3 if number == 0 or number % 2 == 1 else 1
    branch = nn.Sequential(
        nn.Conv3d(channels, planes, (time, 1, 1), padding=(time // 2, 0, 0), bias=False),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
        nn.Sequential(
            PadSame(stride),
            nn.Conv3d(planes, planes, (1, 3, 3), (1, stride, stride), bias=False),
        ),
        nn.BatchNorm3d(planes),
        nn.ReLU(inplace=True),
        nn.Conv3d(planes, 4 * planes, 1, bias=False),
        nn.BatchNorm3d(4 * planes),
    )
    if number > 0:
        return Residual(branch)
    shortcut = nn.Sequential(
        nn.Conv3d(channels, 4 * planes, 1, (1, stride, stride), bias=False),
        nn.BatchNorm3d(4 * planes),
        nn.BatchNorm3d(4 * planes),
    )
    return Residual(branch, shortcut)
