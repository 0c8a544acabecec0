"""The flow between consecutive frames, by the layer on pixels, a trained network's layer, TV-L1."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from repflow_pl.data.decoding.decode_pyav import Frame
from repflow_pl.data.fields.tvl1 import TVL1Options, tvl1
from repflow_pl.data.frames.cache import resize, resized_shape
from repflow_pl.errors import UserError
from repflow_pl.layers.flow import FlowIteration, flow_layers
from repflow_pl.layers.tvnet import grey
from repflow_pl.models.streams import LateFusion
from repflow_pl.showing.weights import Weights

SMALLEST = 16
"""Pixels of the short side at TV-L1's coarsest scale, or a little more."""


class FlowSource(ABC):
    """A way to see motion in frames that come one after the other."""

    name: str
    """In a word or two."""
    window: int = 2
    """Frames that it sees together at best."""

    def prepared(self, frame: Frame, shown: Frame) -> Frame:
        """What is kept of a frame until its window is full: of `frame` as it is in the file, or of
        `shown`, the same at the size of the picture."""
        return shown

    @abstractmethod
    def fields(self, frames: Sequence[Frame], size: tuple[int, int]) -> Tensor:
        """The flow from each of the prepared frames but the last to the next one.

        Returns: [n - 1, 2, *size], x (right) before y (down), in pixels of the picture per frame.
        """


class PixelLayer(FlowSource):
    """The flow layer with its initial values on the brightness of the pixels."""

    name = "layer on pixels"

    def __init__(self) -> None:
        self.layer = FlowIteration(1).eval()

    @torch.no_grad()
    def fields(self, frames: Sequence[Frame], size: tuple[int, int]) -> Tensor:
        clip = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None].float()
        found: Tensor = self.layer.of_clips(grey(clip)[:, None])
        return found[0].transpose(0, 1)


class TVL1(FlowSource):
    """OpenCV's TV-L1, with more scales than the small clips of training need."""

    name = "TV-L1"

    def fields(self, frames: Sequence[Frame], size: tuple[int, int]) -> Tensor:
        scales = max(1, 1 + math.floor(math.log2(max(1.0, min(size) / SMALLEST))))
        options = TVL1Options(scales=scales, warps=2)
        found = [tvl1(first, second, options) for first, second in itertools.pairwise(frames)]
        return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


class LearnedLayer(FlowSource):
    """The first flow layer of a trained network: the mean over its channels, at the picture's size.

    The network is given whole frames where it was trained on crops of them, at the size and the
    rate of its training.

    Args:
        rate: of the video, in frames per second.

    Errors: UserError for a network without a flow layer.
    """

    name = "learned layer"

    def __init__(self, weights: Weights, rate: float) -> None:
        network = weights.network
        members = list(network.members) if isinstance(network, LateFusion) else [network]
        found = [(each, layer) for each in members for layer in flow_layers(each)]
        if not found:
            raise UserError(
                "these weights are of a network without a flow layer: name others, or none to see "
                "the layer on pixels."
            )
        self.network, self.layer = found[0]
        self.inputs = weights.inputs
        self.clip = weights.described.clip
        offsets = self.clip.offsets(rate)
        self.step = max(1, round(offsets[-1] / max(1, len(offsets) - 1)))
        self.window = (self.clip.frames - 1) * self.step + 1

    def prepared(self, frame: Frame, shown: Frame) -> Frame:
        height, width = frame.shape[:2]
        cut = self.clip.source_crop or (height, width)
        size = resized_shape(cut[0], cut[1], self.clip)
        whole = round(height * size[0] / cut[0]), round(width * size[1] / cut[1])
        small: Frame = resize(frame[None], whole)[0]
        return small

    @torch.no_grad()
    def fields(self, frames: Sequence[Frame], size: tuple[int, int]) -> Tensor:
        wanted = len(frames) - 1
        seen = [frames[min(k * self.step, wanted)] for k in range(self.clip.frames)]
        clip = torch.from_numpy(np.stack(seen)).permute(3, 0, 1, 2)[None]
        flow = self._flow(clip)  # [pairs, 2, h, w]
        pairs, steps = len(flow), self.clip.frames - 1
        # A backbone that strides in time has fewer pairs, each of which lasts longer.
        lasts = self.step * steps / pairs
        place = [min(int(k / lasts), pairs - 1) for k in range(wanted)]
        scale = torch.tensor([size[1] / flow.shape[3], size[0] / flow.shape[2]]) / lasts
        large = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
        return (large * scale[:, None, None])[place]

    def _flow(self, clip: Tensor) -> Tensor:
        """uint8 [1, 3, T, H, W] -> the layer's flow [pairs, 2, h, w], in pixels of its maps."""
        flows: list[Tensor] = []
        handle = self.layer.register_forward_hook(lambda _, given, flow: flows.append(flow))
        try:
            self.network(*self.inputs([clip]))
        finally:
            handle.remove()
        flow_x, flow_y = flows[0][0].float().cpu().chunk(2, dim=1)
        return torch.stack([flow_x.mean(1), flow_y.mean(1)], 1)
