"""Flow of flow: several flow layers one after another, with convolutions between or without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from torch import Tensor, nn

from repflow_pl.errors import unknown
from repflow_pl.layers.conv import Pointwise, conv
from repflow_pl.layers.flow import LEARNT, FlowIteration, Kernels, chosen
from repflow_pl.layers.frames import (
    check_counts,
    check_dtype,
    check_pairs,
    per_frame,
    per_pair,
    reset_parts,
)
from repflow_pl.layers.scaling import Normalise, to_255


class FlowStack(nn.Module):
    """Flow-of-Flow, Flow-Conv-Flow (FcF), FcFcF (the paper's Section 3.3) from one description.

    1x1 convolution to `bottleneck` channels; then, `layers` times, normalisation and flow. Between
    two flows, `convolve` puts a 3x3 convolution and a 1x1 one back to the bottleneck, and the last
    flow goes through a 3x3 convolution to `channels`. Without it the flow of K planes, 2 K planes,
    is itself what the next flow is computed of, and a 1x1 convolution ends the stack. Batch norm,
    ReLU.

    FlowStack(channels, layers=2, convolve=True, residual=True, normalise="batch") is the block of
    the released `flow_2p1d_resnets` (github.com/piergiaj/representation-flow-cvpr19, 62a3747).

    Args:
        convolve: convolutions between the flows.
        residual: add the features, averaged over the layers + 1 frames that each output frame
            stems from; the batch norm's gain then starts at 0, as released.
        bottleneck, n_iter, learn, kernels, normalise, rectify, backend: as of
            :class:`repflow_pl.layers.flow.RepFlow`.

    Shapes: [B, C, T, H, W] -> [B, C, T - layers, H, W].
    Errors: UserError for an unknown name, counts that are too small, and clips that do not fit.
    """

    def __init__(
        self,
        channels: int,
        layers: int = 2,
        convolve: bool = True,
        residual: bool = False,
        bottleneck: int | None = 32,
        n_iter: int = 20,
        learn: Iterable[str] = LEARNT,
        kernels: Kernels = "central",
        normalise: Normalise = "clip",
        rectify: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if normalise not in get_args(Normalise):
            raise unknown("normalisation", normalise, get_args(Normalise))
        planes = channels if bottleneck is None else bottleneck
        check_counts(1, layers=layers, channels=channels, bottleneck=planes)
        self.channels, self.residual, self.normalise = channels, residual, normalise
        learn = chosen(learn)
        first = nn.Identity() if bottleneck is None else Pointwise(channels, planes, planes=True)
        self.before = nn.ModuleList([first])
        self.iterations = nn.ModuleList([FlowIteration(planes, n_iter, learn, kernels, backend)])
        for _ in range(layers - 1):
            if convolve:
                between = nn.Sequential(
                    conv(2 * planes, 2 * planes, 3), Pointwise(2 * planes, planes, planes=True)
                )
                self.before.append(between)
            else:
                self.before.append(nn.Identity())
                planes = 2 * planes
            self.iterations.append(FlowIteration(planes, n_iter, learn, kernels, backend))
        self.expand = conv(2 * planes, channels, 3 if convolve else 1)
        self.norm = _SilentNorm(channels) if residual else nn.BatchNorm2d(channels)
        self.activation = nn.ReLU() if rectify else nn.Identity()

    def reset_parameters(self) -> None:
        """The initial values of all its parts."""
        reset_parts(self)

    def extra_repr(self) -> str:
        return f"{self.channels}, residual={self.residual}, normalise={self.normalise!r}"

    def forward(self, x: Tensor) -> Tensor:
        check_pairs(x, self.channels, "the stack of flow layers", len(self.iterations) + 1)
        flow, unit = x, 0  # features have none
        for before, iteration in zip(self.before, self.iterations, strict=True):
            check_dtype(flow, iteration.tau, "the stack of flow layers")  # type: ignore[arg-type]
            planes = per_frame(before, flow)
            flow = per_pair(iteration, to_255(planes, self.normalise, unit)).to(x.dtype)
            unit = 1  # pixel
        out = per_frame(lambda frames: self.norm(self.expand(frames)), flow)
        if self.residual:
            # no average pooling: on a CPU it takes no float16, on a GPU it is not deterministic
            out = out + x.unfold(2, len(self.iterations) + 1, 1).mean(-1)
        rectified: Tensor = self.activation(out)
        return rectified


class _SilentNorm(nn.BatchNorm2d):
    """A batch norm that starts with a gain of 0, also when its values are made again."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.weight)
