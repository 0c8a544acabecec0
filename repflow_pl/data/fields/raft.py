"""RAFT's optical flow between prepared frames, computed once for a set and kept like TV-L1's.

Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020; the small
network, with the weights, of torchvision. Features g of both frames, at an eighth of the
resolution, are compared all with all (Section 3.2): C[i, j] = g(I1)[i] . g(I2)[j], at four scales
of j. From a flow f of zeros, a recurrent unit that looks C up around j = i + f[i] then gives steps
(Section 3.3): f <- f + df, UPDATES times.
"""

from __future__ import annotations

import functools
import itertools
import timeit

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

from repflow_pl.data.fields.eight_bit import STEP, to_bytes
from repflow_pl.data.fields.tvl1 import Fields
from repflow_pl.data.fields.tvl1_fields import Between, field_reader
from repflow_pl.data.frames.cache import DecodedFrames
from repflow_pl.data.frames.reader import Reader
from repflow_pl.data.index import VideoSet
from repflow_pl.errors import Lacking, UserError
from repflow_pl.specs import ClipSpec
from repflow_pl.weights import fetch

WEIGHTS = Raft_Small_Weights.C_T_V2
UPDATES = 12
"""Of the flow, torchvision's number."""
LEAST, MULTIPLE = 128, 8
"""Sides of the frames, in pixels: what its four levels of correlation take, at an eighth of the
resolution. Smaller frames are enlarged for it."""


def open_raft(video_set: VideoSet, clip: ClipSpec, kept: bool = True) -> Reader:
    """The fields between a set's prepared frames i and i + `clip.stride`.

    Errors: Lacking, where any has yet to be made and the weights cannot be had.
    """
    source = Between(DecodedFrames(video_set.root.absolute(), clip), of_frames, clip.stride)
    how = (clip.stride, STEP, str(WEIGHTS), UPDATES, LEAST)
    return field_reader(video_set, clip, source, "raft", how, "RAFT", kept, needs=trained)


@functools.cache
def trained() -> nn.Module:
    """The network, on the GPU where there is one. Errors: Lacking, where its weights are not."""
    network: nn.Module = raft_small()
    try:
        network.load_state_dict(fetch(WEIGHTS, "leave the rows with RAFT out"))
    except UserError as error:
        raise Lacking(str(error)) from error
    return network.eval().to(_device())


def of_frames(first: Fields, second: Fields) -> Fields:
    """`flow` by the trained network, in eight bits."""
    return to_bytes(flow(trained(), first, second))


@torch.no_grad()
def flow(
    network: nn.Module, first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Motion from one RGB frame [h, w, 3] to another: float32 [h, w, 2], pixels, x before y."""
    height, width = first.shape[:2]
    scale = max(1.0, LEAST / min(height, width))
    large = [-(-round(side * scale) // MULTIPLE) * MULTIPLE for side in (height, width)]
    device = next(network.parameters()).device
    pair = torch.from_numpy(np.stack([first, second])).to(device).permute(0, 3, 1, 2)
    pixels = F.interpolate(pair / 127.5 - 1, large, mode="bilinear", antialias=True)
    found = network(pixels[:1], pixels[1:], num_flow_updates=UPDATES)[-1]
    small = F.interpolate(found, (height, width), mode="bilinear", antialias=True)[0]
    factors = torch.tensor([width / large[1], height / large[0]], device=device)
    field: npt.NDArray[np.float32] = (small.permute(1, 2, 0) * factors).cpu().numpy()
    return field


def time_raft(frames: npt.NDArray[np.uint8], repeats: int) -> list[float]:
    """Milliseconds that the fields of a clip [T, h, w, 3] take, each time, on the GPU if there is
    one.

    The network is freshly initialised: weights do not change how long it takes.
    """
    network = raft_small().eval().to(_device())

    def solve() -> None:
        for first, second in itertools.pairwise(frames):
            to_bytes(flow(network, first, second))

    return [1000 * seconds for seconds in timeit.repeat(solve, number=1, repeat=repeats)]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
