"""The representation-flow layer: CNN features in, features of their motion out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from repflow_pl.errors import unknown
from repflow_pl.layers.conv import Pointwise, conv
from repflow_pl.layers.frames import per_frame
from repflow_pl.layers.scaling import Normalise, to_255
from repflow_pl.ops import (
    BACKENDS,
    DenseKernels,
    FlowKernels,
    central_kernels,
    dense_flow,
    dense_kernels,
    flow_flops,
    joined_flow,
    sobel_kernels,
)
from repflow_pl.specs import FLOW_PARAMETERS

Kernels = Literal["central", "sobel", "dense"]
Fuse = Literal["none", "add", "multiply", "concat"]

LEARNT = ("divergence", "theta", "lam", "tau")
"""What the paper found best to train: all but the image gradient."""


class FlowIteration(nn.Module):
    """Alg. 1 with its parameters: the flow from one set of feature maps to the next.

    Args:
        planes: channels the flow is computed on.
        n_iter: iterations.
        learn: which parameters are trained, any of "image_grad", "divergence" (with the flow
            gradient, as released), "theta", "lam", "tau".
        kernels: initial values. "central" differences (the released depthwise layer), "sobel" image
            gradients (the paper's text), or "dense" (the repository head: every channel's flow sees
            all channels).
        backend: of :func:`repflow_pl.ops.representation_flow`. "auto" sees forward derivatives and
            torch.func and leaves them to "eager"; second derivatives, which cannot be seen
            beforehand, are "eager"'s alone. "dense" kernels have no other.

    Shapes: two of [..., planes, H, W] -> [..., 2 planes, H, W], all x (right) before all y (down);
    in pixels per frame for "central" kernels and frames that span 0..255.
    Errors: UserError for an unknown name in `learn`, unknown `kernels` or a `backend` that is
    unknown or not theirs.
    """

    def __init__(
        self,
        planes: int,
        n_iter: int = 20,
        learn: Iterable[str] = LEARNT,
        kernels: Kernels = "central",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        backends = ("auto", "eager") if kernels == "dense" else BACKENDS
        if backend not in backends:
            raise unknown(f"backend for {kernels} kernels", backend, backends)
        learn = frozenset(learn)
        for name in sorted(learn.difference(FLOW_PARAMETERS)):
            raise unknown("flow parameter", name, FLOW_PARAMETERS)
        self.n_iter = n_iter
        self.kernels, self.backend = kernels, backend
        initial = _initial_kernels(kernels, planes)
        self.image_x = nn.Parameter(initial.image_x, "image_grad" in learn)
        self.image_y = nn.Parameter(initial.image_y, "image_grad" in learn)
        self.flow_x = nn.Parameter(initial.flow_x, "divergence" in learn)
        self.flow_y = nn.Parameter(initial.flow_y, "divergence" in learn)
        self.div_x = nn.Parameter(initial.div_x, "divergence" in learn)
        self.div_y = nn.Parameter(initial.div_y, "divergence" in learn)
        self.theta = nn.Parameter(torch.tensor([0.3]), "theta" in learn)
        self.lam = nn.Parameter(torch.tensor([0.15]), "lam" in learn)
        self.tau = nn.Parameter(torch.tensor([0.25]), "tau" in learn)

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        k = self.image_x, self.image_y, self.flow_x, self.flow_y, self.div_x, self.div_y
        scalars = self.theta, self.lam, self.tau
        if self.kernels == "dense":
            flow = dense_flow(frame1, frame2, DenseKernels(*k), *scalars, self.n_iter)
            return torch.cat(flow, dim=-3)
        return joined_flow(frame1, frame2, FlowKernels(*k), *scalars, self.n_iter, self.backend)

    def of_clips(self, clips: Tensor) -> Tensor:
        """Flow between consecutive frames: [B, K, T, H, W] -> [B, 2 K, T - 1, H, W], x before y.

        Errors: ValueError for a clip of fewer than 2 frames.
        """
        if clips.shape[2] < 2:
            raise ValueError(f"Flow needs 2 frames or more; the clip has {clips.shape[2]}.")
        frames = clips.transpose(1, 2)
        flow: Tensor = self(frames[:, :-1], frames[:, 1:])
        return flow.transpose(1, 2)

    def flops(self, frame: Tensor) -> int:
        """Operations of Alg. 1 on frames like this one [..., K, H, W].

        Mixing the channels with "dense" kernels is not counted: it is made of convolutions.
        """
        *planes, height, width = frame.shape
        return flow_flops(math.prod(planes), height, width, self.n_iter)


class RepFlow(nn.Module):
    """Flow between consecutive frames of feature maps, as features of the same width.

    1x1 convolution to `bottleneck` channels, normalisation to 0..255, Alg. 1 of the paper on each
    channel, 1x1 convolution of the flow's two components back to `channels`, batch norm, ReLU.
    By default it does not fuse: only flow goes on, as in the paper's placement experiments
    (Section 4.2).

    Args:
        channels: C of the input and of the output.
        bottleneck: channels the flow is computed on; None computes it on the input's own.
        n_iter, learn, kernels, backend: see :class:`FlowIteration`. The convolutions are always
            trained.
        normalise: "clip" scales each clip by its own minimum and maximum; "batch" takes one pair
            for the whole batch, as released: a prediction then depends on the clip's neighbours.
        fuse: how the earlier frame's features join: "add" or "multiply" the batch-normed flow;
            "concat" puts them beside the flow in front of the last 1x1 convolution.
        rectify: end in a ReLU, which the next block of a ResNet expects; False in front of the
            stem, whose input is signed.

    RepFlow(kernels="dense", normalise="batch", fuse="add") is the layer of the repository head,
    whose weights :mod:`repflow_pl.models.released` loads.

    Shapes: [B, C, T, H, W] -> [B, C, T - 1, H, W], with T, H, W >= 2.
    Errors: UserError for an unknown name; ValueError for a clip of fewer than 2 frames.
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int | None = 32,
        n_iter: int = 20,
        learn: Iterable[str] = LEARNT,
        kernels: Kernels = "central",
        normalise: Normalise = "clip",
        fuse: Fuse = "none",
        rectify: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if normalise not in get_args(Normalise):
            raise unknown("normalisation", normalise, get_args(Normalise))
        if fuse not in get_args(Fuse):
            raise unknown("fusion", fuse, get_args(Fuse))
        self.normalise, self.fuse = normalise, fuse
        planes = channels if bottleneck is None else bottleneck
        self.bottleneck = (
            nn.Identity() if bottleneck is None else Pointwise(channels, planes, planes=True)
        )
        self.iteration = FlowIteration(planes, n_iter, learn, kernels, backend)
        beside = channels if fuse == "concat" else 0
        self.expand = conv(2 * planes + beside, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU() if rectify else nn.Identity()

    def flow_parameters(self) -> list[Tensor]:
        """The parameters of Alg. 1, trained or not: the group with its own learning rate."""
        return list(self.iteration.parameters())

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(flow_x, flow_y) of a batch of clips, right and down, in pixels of x per frame.

        Shapes: [B, C, T, H, W] -> two of [B, K, T - 1, H, W], K the bottleneck's channels.
        """
        flow_x, flow_y = self._flow(x).chunk(2, dim=1)
        return flow_x, flow_y

    def forward(self, x: Tensor) -> Tensor:
        flow, earlier = self._flow(x).to(x.dtype), x[:, :, :-1]
        if self.fuse == "concat":
            flow = torch.cat([flow, earlier], dim=1)
        out = per_frame(self.norm, per_frame(self.expand, flow))
        if self.fuse == "add":
            out = out + earlier
        elif self.fuse == "multiply":
            out = out * earlier
        rectified: Tensor = self.activation(out)
        return rectified

    def _flow(self, x: Tensor) -> Tensor:
        planes = per_frame(self.bottleneck, x)
        return self.iteration.of_clips(to_255(planes, self.normalise))


def _initial_kernels(kernels: str, planes: int) -> FlowKernels | DenseKernels:
    if kernels == "dense":
        return dense_kernels(planes)
    if kernels == "sobel":
        return sobel_kernels(planes)
    if kernels == "central":
        return central_kernels(planes)
    raise unknown("set of flow kernels", kernels, get_args(Kernels))
