"""Optical-flow guided features: how CNN features change in time and in space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repflow_pl.layers.frames import check_counts, check_pairs


class OFFLayer(nn.Module):
    """The features orthogonal to optical flow, of every pair of consecutive frames.

    Sun et al., "Optical Flow Guided Feature" (CVPR 2018), Section 3: where brightness is constant,
    (F_x, F_y, F_t) is orthogonal to (v_x, v_y, 1), so the gradients guide as the flow would. F_t is
    the difference of one 1x1 reduction with ReLU; F_x and F_y are Sobel gradients of another, in
    the first frame of the pair, with fixed kernels. The two reductions and the ReLU are those of
    the release (github.com/kevin-ssy/Optical-Flow-Guided-Feature, `models/ucf101/rgb_off/1`), whose
    dropout of 0.8 on the gradients in space is left out.

    Shapes: [B, C, T, H, W] -> [B, temporal + 2 * spatial, T - 1, H, W].
    Errors: UserError for other shapes, and for clips of one frame.
    """

    def __init__(self, channels: int, temporal: int, spatial: int) -> None:
        super().__init__()
        check_counts(1, channels=channels, temporal=temporal, spatial=spatial)
        self.temporal = nn.Conv3d(channels, temporal, kernel_size=1)
        self.spatial = nn.Conv3d(channels, spatial, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        check_pairs(x, self.temporal.in_channels, "OFFLayer")
        reduced = F.relu(self.temporal(x))
        change = reduced[:, :, 1:] - reduced[:, :, :-1]
        return torch.cat([*sobel(self.spatial(x[:, :, :-1])), change], 1)


def sobel(clip: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel gradients in x and y per pixel, borders held: [B, C, T, H, W] -> two of that shape."""
    wide = F.pad(clip, (1, 1, 1, 1, 0, 0), mode="replicate")
    d_x = wide[..., 2:] - wide[..., :-2]
    d_y = wide[..., 2:, :] - wide[..., :-2, :]
    g_x = (d_x[..., :-2, :] + 2 * d_x[..., 1:-1, :] + d_x[..., 2:, :]) / 8
    g_y = (d_y[..., :-2] + 2 * d_y[..., 1:-1] + d_y[..., 2:]) / 8
    return g_x, g_y
