"""The yardstick: Alg. 1 in the plain way of the authors' released layer, with autograd's gradient.

What makes that way slow is kept on purpose: a grouped convolution on a padded copy for every
derivative, borders overwritten in place, the three branches of v gathered and scattered through
boolean masks, and |grad u| computed for each component of p. Only the tests may share anything
with repflow_pl's op: this file imports torch alone.

Piergiovanni and Ryoo, "Representation Flow for Action Recognition", CVPR 2019 (arXiv 1810.01455);
the depthwise layer at commit 787564a of github.com/piergiaj/representation-flow-cvpr19. Its mask
`mask1 ^ 1` is an integer index in a current PyTorch and is written as "not" here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-12


def baseline_flow(
    frame1: Tensor,
    frame2: Tensor,
    kernels: Sequence[Tensor],
    theta: Tensor,
    lam: Tensor,
    tau: Tensor,
    n_iter: int,
) -> tuple[Tensor, Tensor]:
    """Flow from frame1 to frame2, [N, C, H, W] each; kernels [C, 3], [C, 3] and four [C, 2].

    The kernels' order: derivative of the image in x and y, of the flow in x and y, divergence in x
    and y. theta, lam and tau have one element.
    """
    image_x, image_y, flow_x, flow_y, div_x, div_y = kernels
    grad_x, grad_y = _image_gradient(frame1, frame2, image_x, image_y)
    grad_sq = grad_x**2 + grad_y**2 + EPS
    rho_c = frame2 - frame1
    limit, rate = lam * theta, tau / theta
    u = [torch.zeros_like(frame1) for _ in "xy"]
    p = [[torch.zeros_like(frame1) for _ in "xy"] for _ in "xy"]
    for _ in range(n_iter):
        rho = rho_c + grad_x * u[0] + grad_y * u[1] + EPS
        v = _thresholded(rho, grad_x, grad_y, grad_sq, limit)
        for c in range(2):
            v[c] += u[c]
            u[c] = v[c] + theta * _divergence(p[c][0], p[c][1], div_x, div_y)
            d_x, d_y = _flow_gradient(u[c], flow_x, flow_y)
            p[c] = [
                (old + rate * d) / (1.0 + rate * torch.sqrt(d_x**2 + d_y**2 + EPS))
                for old, d in zip(p[c], (d_x, d_y), strict=True)
            ]
    return u[0], u[1]


def _thresholded(
    rho: Tensor, grad_x: Tensor, grad_y: Tensor, grad_sq: Tensor, limit: Tensor
) -> list[Tensor]:
    """The step of v along grad F2 (Eq. 6), branch by branch, for both components."""
    below = (rho < -limit * grad_sq).detach()
    above = (rho > limit * grad_sq).detach()
    between = (~below & ~above & (grad_sq > EPS)).detach()
    steps = []
    for gradient in (grad_x, grad_y):
        step = torch.zeros_like(gradient)
        step[below] = (limit * gradient)[below]
        step[above] = (-limit * gradient)[above]
        step[between] = ((-rho / grad_sq) * gradient)[between]
        steps.append(step)
    return steps


def _image_gradient(
    frame1: Tensor, frame2: Tensor, image_x: Tensor, image_y: Tensor
) -> tuple[Tensor, Tensor]:
    """Eq. 8 on frame 2; the borders come from frame 1, as in the released layer."""
    d_x = _along_x(F.pad(frame2, (1, 1, 0, 0)), image_x)
    d_x[:, :, :, 0] = 0.5 * (frame1[:, :, :, 1] - frame1[:, :, :, 0])
    d_x[:, :, :, -1] = 0.5 * (frame1[:, :, :, -1] - frame1[:, :, :, -2])
    d_y = _along_y(F.pad(frame2, (0, 0, 1, 1)), image_y)
    d_y[:, :, 0, :] = 0.5 * (frame1[:, :, 1, :] - frame1[:, :, 0, :])
    d_y[:, :, -1, :] = 0.5 * (frame1[:, :, -1, :] - frame1[:, :, -2, :])
    return d_x, d_y


def _flow_gradient(u: Tensor, flow_x: Tensor, flow_y: Tensor) -> tuple[Tensor, Tensor]:
    d_x = _along_x(F.pad(u, (0, 1, 0, 0)), flow_x)
    d_x[:, :, :, -1] = 0
    d_y = _along_y(F.pad(u, (0, 0, 0, 1)), flow_y)
    d_y[:, :, -1, :] = 0
    return d_x, d_y


def _divergence(p_x: Tensor, p_y: Tensor, div_x: Tensor, div_y: Tensor) -> Tensor:
    """Backward differences: a zero before p, whose last column (row) is dropped for it."""
    shifted_x = F.pad(p_x[:, :, :, :-1], (1, 0, 0, 0))
    shifted_y = F.pad(p_y[:, :, :-1, :], (0, 0, 1, 0))
    d_x = _along_x(F.pad(shifted_x, (0, 1, 0, 0)), div_x)
    d_y = _along_y(F.pad(shifted_y, (0, 0, 0, 1)), div_y)
    return d_x + d_y


def _along_x(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel[:, None, None, :], groups=len(kernel))


def _along_y(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel[:, None, :, None], groups=len(kernel))
