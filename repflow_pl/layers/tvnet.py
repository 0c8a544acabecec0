"""TVNet: the iterations of TV-L1 optical flow as the layers of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repflow_pl.errors import UserError
from repflow_pl.layers.frames import check_counts, check_pairs
from repflow_pl.layers.scaling import to_255
from repflow_pl.ops import flow_flops
from repflow_pl.ops.flow import epsilon, forward_differences, taps
from repflow_pl.ops.flow_inputs import in_full_precision

THETA, LAMBDA, TAU = 0.3, 0.15, 0.25
"""Tightness of the coupling, weight of the data term, step of the dual variable: not trained."""
SMALLEST = 4
"""Pixels of the coarsest scale's shorter side."""


class TVNet(nn.Module):
    """Optical flow between consecutive frames, by TV-L1 with trained kernels.

    Fan et al., "End-to-End Learning of Motion Representation for Video Understanding" (CVPR 2018),
    Section 3; github.com/LijieFan/tvnet, `tvnet.py`, was read for what the paper leaves open. At
    every scale, from coarse to fine: frame 2 and its gradient are warped by the flow so far, the
    brightness is linearised there, and `n_iter` iterations of Zach et al. (DAGM 2007) refine it.

    Trained, from the values of TV-L1 on: the kernels of the flow's gradient and of the divergence,
    of every iteration and each of the flow's two components on their own, and the flow that the
    coarsest scale starts from. As in the released code the image gradient, theta, lambda and tau
    stay fixed. Unlike there, the start is one vector and not a field of one image size, frames are
    scaled to 0..255 per clip and not per pair, and borders are replicated where it pads with zeros.
    The paper's second loss, the energy of TV-L1 itself, is left out.

    Shapes: RGB [B, 3, T, H, W] -> [B, 2, T - 1, H, W], right and down in pixels per frame.
    Computed in float32, under autocast too, and in float64 for clips of float64. Between two frames
    that are the same the flow is 0 and has no gradient: the steps from warp to warp divide by the
    image gradient wherever nothing changes, which multiplies gradients 1e4 times.
    Errors: UserError for a clip of one frame, of another shape, or too small for the scales, and at
    construction for less than 1 scale, 1 warp or 0 iterations.
    """

    def __init__(self, scales: int = 1, warps: int = 1, n_iter: int = 50) -> None:
        super().__init__()
        check_counts(1, scales=scales, warps=warps)
        check_counts(0, n_iter=n_iter)
        self.scales, self.warps, self.n_iter = scales, warps, n_iter
        # The dual variable starts at zero, so smoothing begins with the second iteration.
        smoothings = max(warps * n_iter - 1, 0)
        kernels = torch.tensor([-1.0, 1.0]).repeat(scales, smoothings, 2, 1)  # component, tap
        trained = smoothings > 0  # none gets no gradient, which distributed training waits for
        self.flow_x = nn.Parameter(kernels.clone(), trained)
        self.flow_y = nn.Parameter(kernels.clone(), trained)
        self.div_x = nn.Parameter(kernels.clone(), trained)
        self.div_y = nn.Parameter(kernels.clone(), trained)
        self.start = nn.Parameter(torch.zeros(2))

    def forward(self, clip: Tensor) -> Tensor:
        check_pairs(clip, 3, "TVNet")
        h, w = clip.shape[-2:]
        if min(h, w) < SMALLEST * 2 ** (self.scales - 1):
            raise UserError(
                f"TVNet of {self.scales} scales needs frames of {SMALLEST * 2 ** (self.scales - 1)}"
                f" pixels or more; these are {h} x {w} (height x width)."
            )
        exact = clip if clip.dtype == torch.float64 else clip.float()
        with in_full_precision(clip.device):
            return self._flow(exact).to(clip.dtype)

    def _flow(self, clip: Tensor) -> Tensor:
        b, _, t, h, w = clip.shape
        pyramid = [smooth(to_255(grey(clip)))]
        for _ in range(self.scales - 1):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2))
        flow = self.start.to(pyramid[0].dtype).reshape(1, 2, 1, 1)
        flow = flow.expand(b * (t - 1), 2, *pyramid[-1].shape[-2:])
        for scale, frames in enumerate(reversed(pyramid)):
            if scale > 0:
                flow = 2 * F.interpolate(flow, size=frames.shape[-2:], mode="bilinear")
            first, second = (
                pair.flatten(0, 1)[:, None] for pair in (frames[:, :-1], frames[:, 1:])
            )
            flow = self._refine(scale, first, second, flow)
        change = pyramid[0].detach().diff(dim=1).abs().amax((2, 3)).reshape(-1, 1, 1, 1)
        # Written so that NaN stays NaN. Smoothing rounds at most so much of 255.
        still = change <= 255 * 8 * torch.finfo(clip.dtype).eps
        flow = flow.masked_fill(still, 0)
        return flow.reshape(b, t - 1, 2, h, w).transpose(1, 2)

    def _refine(self, scale: int, first: Tensor, second: Tensor, u: Tensor) -> Tensor:
        """The flow u [N, 2, h, w] after all warps and iterations at one scale."""
        kernels = [kernel[scale] for kernel in (self.flow_x, self.flow_y, self.div_x, self.div_y)]
        of_second = torch.cat([second, *image_gradient(second)], 1)
        limit, rate, eps = LAMBDA * THETA, TAU / THETA, epsilon(u)
        p_x = p_y = torch.zeros_like(u)
        # Of 0..255, where positions up to the width or height are sampled.
        rounding = 255 * max(u.shape[-2:]) * torch.finfo(u.dtype).eps
        for i in range(self.warps * self.n_iter):
            if i % self.n_iter == 0:
                warped = warp(of_second, u)
                image, grad = warped[:, :1], warped[:, 1:]
                grad_sq = grad.square().sum(1, keepdim=True) + eps
                change = image - first
                # Where nothing changes, a gradient would be divided by that of the image, which at
                # each of several warps multiplies it.
                change = change.masked_fill(change.abs() <= rounding, 0)
                rho_c = change - (grad * u).sum(1, keepdim=True)
            rho = rho_c + (grad * u).sum(1, keepdim=True)
            v = u + torch.clamp(-rho / grad_sq, -limit, limit) * grad
            if i == 0:
                u = v
                continue
            # The dual variable follows the flow of the iteration before.
            flow_x, flow_y, div_x, div_y = (kernel[i - 1] for kernel in kernels)
            d_x, d_y = forward_differences(u, flow_x, flow_y)
            shrink = 1 + rate * torch.sqrt(d_x.square() + d_y.square() + eps)
            p_x, p_y = (p_x + rate * d_x) / shrink, (p_y + rate * d_y) / shrink
            u = v + THETA * divergence(p_x, p_y, div_x, div_y)
        return u

    def flops(self, clip: Tensor) -> int:
        """Operations of warps and iterations on clips like this one, smoothing not counted.

        The iterations count as in `flow_flops`; the warp of three planes 29 for a pixel: two
        coordinates, four weights (8), and four products and three sums a plane (21).
        """
        b, _, t, h, w = clip.shape
        sizes = [(h >> scale, w >> scale) for scale in range(self.scales)]
        return sum(
            flow_flops(b * (t - 1), height, width, self.warps * self.n_iter)
            + 29 * self.warps * b * (t - 1) * height * width
            for height, width in sizes
        )


def grey(clip: Tensor) -> Tensor:
    """Brightness of RGB by ITU-R BT.601: [B, 3, T, H, W] -> [B, T, H, W]."""
    red, green, blue = clip.unbind(1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def smooth(frames: Tensor) -> Tensor:
    """A Gaussian of 5 x 5 pixels and deviation 0.85, the released code's. [B, T, H, W]."""
    steps = torch.arange(-2, 3, dtype=frames.dtype, device=frames.device)
    taps = torch.exp(-steps.square() / (2 * 0.85**2))
    taps = taps / taps.sum()
    planes = F.pad(frames.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="replicate")
    planes = F.conv2d(F.conv2d(planes, taps.reshape(1, 1, 1, 5)), taps.reshape(1, 1, 5, 1))
    return planes.reshape(frames.shape)


def image_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences in x and y, half a difference at the border: [..., H, W] each."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    d_x = 0.5 * (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2])
    d_y = 0.5 * (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1])
    return d_x, d_y


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """image(x + flow(x)), bilinear, borders held; differentiable in both.

    Shapes: [N, C, H, W] and [N, 2, H, W] (right, down, in pixels) -> [N, C, H, W]; H, W >= 2.
    """
    height, width = image.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    # grid_sample wants -1..1 from the first pixel's centre to the last one's.
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def divergence(p_x: Tensor, p_y: Tensor, kernel_x: Tensor, kernel_y: Tensor) -> Tensor:
    """Backward differences by kernels [2, 2] (component, tap), with zeros outside."""
    (left, here_x), (above, here_y) = taps(kernel_x), taps(kernel_y)
    d_x = here_x * p_x + left * F.pad(p_x[..., :-1], (1, 0))
    return d_x + (here_y * p_y + above * F.pad(p_y[..., :-1, :], (0, 0, 1, 0)))
