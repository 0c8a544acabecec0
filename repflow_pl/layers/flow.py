"""The representation-flow layer: CNN features in, features of their motion out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from repflow_pl.errors import unknown
from repflow_pl.ops import FlowKernels, central_kernels, flow_flops, representation_flow
from repflow_pl.specs import FLOW_PARAMETERS


class RepFlow(nn.Module):
    """Flow between consecutive frames of feature maps, as features of the same width.

    1x1 convolution to `bottleneck` channels, normalisation to 0..255, Alg. 1 of the paper on each
    channel, 1x1 convolution of the flow's two components back to `channels`, batch norm, ReLU.
    It does not fuse: only flow goes on, as in the paper's placement experiments (Section 4.2).

    Args:
        channels: C of the input and of the output.
        bottleneck: channels the flow is computed on; None computes it on the input's own.
        n_iter: iterations of Alg. 1.
        learn: which flow parameters are trained, any of "image_grad", "divergence" (with the flow
            gradient, as released), "theta", "lam", "tau". The convolutions always are.
        rectify: end in a ReLU, which the next block of a ResNet expects; False in front of the
            stem, whose input is signed.

    Shapes: [B, C, T, H, W] -> [B, C, T - 1, H, W], with T, H, W >= 2.
    Errors: UserError for an unknown name in `learn`; ValueError for a clip of fewer than 2 frames.
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int | None = 32,
        n_iter: int = 20,
        learn: Iterable[str] = ("divergence", "theta", "lam", "tau"),
        rectify: bool = True,
    ) -> None:
        super().__init__()
        learn = frozenset(learn)
        for name in sorted(learn.difference(FLOW_PARAMETERS)):
            raise unknown("flow parameter", name, FLOW_PARAMETERS)
        self.n_iter = n_iter
        planes = channels if bottleneck is None else bottleneck
        self.bottleneck = nn.Identity() if bottleneck is None else _conv1x1(channels, planes)
        kernels = central_kernels(planes)
        self.image_x = nn.Parameter(kernels.image_x, "image_grad" in learn)
        self.image_y = nn.Parameter(kernels.image_y, "image_grad" in learn)
        self.flow_x = nn.Parameter(kernels.flow_x, "divergence" in learn)
        self.flow_y = nn.Parameter(kernels.flow_y, "divergence" in learn)
        self.div_x = nn.Parameter(kernels.div_x, "divergence" in learn)
        self.div_y = nn.Parameter(kernels.div_y, "divergence" in learn)
        self.theta = nn.Parameter(torch.tensor([0.3]), "theta" in learn)
        self.lam = nn.Parameter(torch.tensor([0.15]), "lam" in learn)
        self.tau = nn.Parameter(torch.tensor([0.25]), "tau" in learn)
        self.expand = _conv1x1(2 * planes, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU(inplace=True) if rectify else nn.Identity()

    def flow_parameters(self) -> list[Tensor]:
        """The parameters of Alg. 1, trained or not: the group with its own learning rate."""
        return [*self._kernels(), self.theta, self.lam, self.tau]

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(flow_x, flow_y) of a batch of clips, right and down, in pixels of x per frame.

        Shapes: [B, C, T, H, W] -> two of [B * (T - 1), K, H, W], K the bottleneck's channels.
        """
        b, c, t, h, w = x.shape
        if t < 2:
            raise ValueError(f"Flow needs 2 frames or more; the clip has {t}.")
        narrow = self.bottleneck(x.transpose(1, 2).reshape(b * t, c, h, w))
        frames = to_255(narrow.reshape(b, t, -1, h, w))
        return representation_flow(
            frames[:, :-1].reshape(b * (t - 1), -1, h, w),
            frames[:, 1:].reshape(b * (t - 1), -1, h, w),
            self._kernels(),
            self.theta,
            self.lam,
            self.tau,
            self.n_iter,
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        flow = torch.cat(self.flow(x), dim=1).to(x.dtype)
        out: Tensor = self.activation(self.norm(self.expand(flow)))
        return out.reshape(b, t - 1, c, h, w).transpose(1, 2)

    def iteration_flops(self, x: Tensor) -> int:
        """Operations of Alg. 1 on a batch like x, convolutions around it not counted."""
        b, _, t, h, w = x.shape
        return flow_flops(b * (t - 1) * len(self.image_x), h, w, self.n_iter)

    def _kernels(self) -> FlowKernels:
        return FlowKernels(
            self.image_x, self.image_y, self.flow_x, self.flow_y, self.div_x, self.div_y
        )


def to_255(clips: Tensor) -> Tensor:
    """Each clip scaled to 0..255 by its own minimum and maximum, in float32 at least.

    The released code takes them over the whole batch, which lets a clip's prediction depend on its
    neighbours; taking them per clip does not. A constant clip becomes 0.
    Shapes: [B, ...] -> [B, ...].
    """
    flat = clips.flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    spread = (high - low).clamp_min(torch.finfo(flat.dtype).tiny)
    return (255 * ((flat - low) / spread)).reshape(clips.shape)


def _conv1x1(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=1, bias=False)
