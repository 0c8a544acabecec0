"""The representation-flow layer: CNN features in, features of their motion out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError, unknown
from repflow_pl.layers.conv import Pointwise, conv
from repflow_pl.layers.frames import (
    check_counts,
    check_dtype,
    check_pairs,
    per_frame,
    per_pair,
    reset_parts,
)
from repflow_pl.layers.scaling import Normalise, Range, to_255
from repflow_pl.ops import (
    BACKENDS,
    FlowKernels,
    central_kernels,
    dense_flow,
    dense_kernels,
    flow_flops,
    joined_flow,
    sobel_kernels,
)
from repflow_pl.specs import FLOW_PARAMETERS, in_order

Kernels = Literal["central", "sobel", "dense"]
Fuse = Literal["none", "add", "multiply", "concat"]

LEARNT = ("divergence", "theta", "lam", "tau")
"""What the paper found best to train: all but the image gradient."""

LEAST = 1e-3
"""Where theta, lambda and tau stop to be their parameter's own value, see :func:`positive`."""


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

    Training may carry the parameters theta, lam and tau anywhere: :func:`positive` of them is used.

    Shapes: two of [..., planes, H, W] -> [..., 2 planes, H, W], all x (right) before all y (down);
    in pixels per frame for "central" kernels and frames that span 0..255.
    Errors: UserError for an unknown name in `learn`, unknown `kernels`, a `backend` that is
    unknown or not theirs, counts that are too small, and frames that do not fit.
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
        check_counts(1, planes=planes)
        check_counts(0, n_iter=n_iter)
        learn = chosen(learn)
        self.planes, self.n_iter, self.learn = planes, n_iter, learn
        self.kernels, self.backend = kernels, backend
        initial = _initial_kernels(kernels, planes)
        self.image_x = nn.Parameter(initial.image_x, "image_grad" in learn)
        self.image_y = nn.Parameter(initial.image_y, "image_grad" in learn)
        self.flow_x = nn.Parameter(initial.flow_x, "divergence" in learn)
        self.flow_y = nn.Parameter(initial.flow_y, "divergence" in learn)
        self.div_x = nn.Parameter(initial.div_x, "divergence" in learn)
        self.div_y = nn.Parameter(initial.div_y, "divergence" in learn)
        self.theta = nn.Parameter(torch.empty(1), "theta" in learn)
        self.lam = nn.Parameter(torch.empty(1), "lam" in learn)
        self.tau = nn.Parameter(torch.empty(1), "tau" in learn)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The initial values, for instance after `to_empty` from the meta device."""
        one = _initial_kernels(self.kernels, 1, self.theta.device)  # every channel has the same
        for name, kernel in one._asdict().items():
            held = getattr(self, name).data
            if hasattr(held, "to_local"):  # sharded by fully_shard: this process's channels
                held = held.to_local()
            held.copy_(kernel)
        nn.init.constant_(self.theta, 0.3)
        nn.init.constant_(self.lam, 0.15)
        nn.init.constant_(self.tau, 0.25)

    def extra_repr(self) -> str:
        return (
            f"{self.planes}, n_iter={self.n_iter}, learn={self.learn}, "
            f"kernels={self.kernels!r}, backend={self.backend!r}"
        )

    def forward(self, frame1: Tensor, frame2: Tensor) -> Tensor:
        if frame1.ndim < 4 or frame1.shape[-3] != self.planes:
            raise UserError(
                f"frames must be [..., {self.planes}, H, W] with a batch in front; these are "
                f"{list(frame1.shape)}."
            )
        height, width = frame1.shape[-2:]
        if height < 2 or width < 2:
            raise UserError(
                "flow needs frames of 2 pixels or more, high and wide; these are "
                f"{height} x {width}."
            )
        kernels = FlowKernels(
            self.image_x, self.image_y, self.flow_x, self.flow_y, self.div_x, self.div_y
        )
        theta, lam, tau = positive(torch.cat([self.theta, self.lam, self.tau])).unbind()
        if self.kernels == "dense":
            flow = dense_flow(frame1, frame2, kernels, theta, lam, tau, self.n_iter)
            return torch.cat(flow, dim=-3)
        return joined_flow(frame1, frame2, kernels, theta, lam, tau, self.n_iter, self.backend)

    def of_clips(self, clips: Tensor) -> Tensor:
        """Flow between consecutive frames: [B, K, T, H, W] -> [B, 2 K, T - 1, H, W], x before y.

        Errors: UserError as `check_pairs` says.
        """
        check_pairs(clips, self.planes, "the flow of clips")
        return per_pair(self, clips)

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
            "running", or a range (low, high), is one for all clips, see
            :class:`repflow_pl.layers.scaling.Range`: frames can then come one at a time, see
            :class:`repflow_pl.layers.live.LiveFlow`.
        fuse: how the earlier frame's features join: "add" or "multiply" the batch-normed flow;
            "concat" puts them beside the flow in front of the last 1x1 convolution.
        rectify: end in a ReLU, which the next block of a ResNet expects; False in front of the
            stem, whose input is signed.

    RepFlow(kernels="dense", normalise="batch", fuse="add") is the layer of the repository head,
    whose weights :mod:`repflow_pl.released.load` loads.

    Shapes: [B, C, T, H, W] -> [B, C, T - 1, H, W], with T, H, W >= 2.
    Errors: UserError for an unknown name, counts that are too small, and clips that do not fit.
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int | None = 32,
        n_iter: int = 20,
        learn: Iterable[str] = LEARNT,
        kernels: Kernels = "central",
        normalise: Normalise | Literal["running"] | tuple[float, float] = "clip",
        fuse: Fuse = "none",
        rectify: bool = True,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        known = (*get_args(Normalise), "running")
        if not isinstance(normalise, tuple | list) and normalise not in known:
            raise unknown("normalisation", normalise, known)
        if fuse not in get_args(Fuse):
            raise unknown("fusion", fuse, get_args(Fuse))
        planes = channels if bottleneck is None else bottleneck
        check_counts(1, channels=channels, bottleneck=planes)
        self.channels, self.normalise, self.fuse = channels, normalise, fuse
        self.range = None
        if normalise not in get_args(Normalise):
            self.range = Range(None if isinstance(normalise, str) else normalise)
        self.bottleneck = (
            nn.Identity() if bottleneck is None else Pointwise(channels, planes, planes=True)
        )
        self.iteration = FlowIteration(planes, n_iter, learn, kernels, backend)
        beside = channels if fuse == "concat" else 0
        self.expand = conv(2 * planes + beside, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU() if rectify else nn.Identity()

    def reset_parameters(self) -> None:
        """The initial values of all its parts."""
        reset_parts(self)

    def extra_repr(self) -> str:
        return f"{self.channels}, normalise={self.normalise!r}, fuse={self.fuse!r}"

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
        return self.features(self._flow(x), x[:, :, :-1])

    def planes(self, x: Tensor) -> Tensor:
        """What the flow is computed on: [B, C, T, H, W] -> [B, K, T, H, W]."""
        check_dtype(x, self.iteration.tau, "RepFlow")
        planes = per_frame(self.bottleneck, x)
        if self.range is not None:
            scaled: Tensor = self.range(planes)
            return scaled
        assert isinstance(self.normalise, str) and self.normalise != "running"
        return to_255(planes, self.normalise)

    def features(self, flow: Tensor, earlier: Tensor) -> Tensor:
        """What goes on: flow [B, 2 K, T, H, W] and the frames [B, C, T, H, W] that it starts from
        -> [B, C, T, H, W]."""
        flow = flow.to(earlier.dtype)
        if self.fuse == "concat":
            flow = torch.cat([flow, earlier], dim=1)
        out = per_frame(lambda frames: self.norm(self.expand(frames)), flow)
        if self.fuse == "add":
            out = out + earlier
        elif self.fuse == "multiply":
            out = out * earlier
        rectified: Tensor = self.activation(out)
        return rectified

    def _flow(self, x: Tensor) -> Tensor:
        check_pairs(x, self.channels, "RepFlow")
        return per_pair(self.iteration, self.planes(x))


def flow_layers(network: nn.Module) -> list[FlowIteration]:
    """Where a network computes flow, in the order of its modules."""
    return [module for module in network.modules() if isinstance(module, FlowIteration)]


def positive(scalar: Tensor) -> Tensor:
    """The scalar itself down to LEAST, and LEAST^2 / (2 LEAST - scalar) below.

    Alg. 1 divides by theta, and is another algorithm where theta, lambda or tau is negative. This
    is smooth once and increasing, so that a gradient step that went too far is taken back by later
    ones; it is above 0 for every number, and what was trained to an ordinary value stays it.
    In float32 at least.
    """
    exact = scalar if scalar.dtype == torch.float64 else scalar.float()
    return torch.where(exact >= LEAST, exact, LEAST**2 / (2 * LEAST - exact.clamp(max=LEAST)))


def chosen(learn: Iterable[str]) -> tuple[str, ...]:
    """The flow parameters that are named, in their order. Errors: UserError for an unknown one."""
    if isinstance(learn, str) or not isinstance(learn, Iterable):
        given = [learn] if isinstance(learn, str) else []
        raise UserError(f"learn is a list of names: give {given}, not {learn!r}.")
    names = frozenset(learn)
    for name in sorted(names.difference(FLOW_PARAMETERS)):
        raise unknown("flow parameter", name, FLOW_PARAMETERS)
    return in_order(names)


def _initial_kernels(kernels: str, planes: int, device: torch.device | None = None) -> FlowKernels:
    if kernels == "dense":
        return dense_kernels(planes, device=device)
    if kernels == "sobel":
        return sobel_kernels(planes, device=device)
    if kernels == "central":
        return central_kernels(planes, device=device)
    raise unknown("set of flow kernels", kernels, get_args(Kernels))
