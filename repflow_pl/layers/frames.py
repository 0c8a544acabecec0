"""2D modules on clips."""

from __future__ import annotations

from torch import Tensor, nn


def per_frame(module: nn.Module, clips: Tensor) -> Tensor:
    """A 2D module applied to every frame: [B, C, T, H, W] -> [B, C', T, H', W'].

    Frames become batch items; where the clips came from here this is a view.
    """
    frames: Tensor = module(clips.transpose(1, 2).flatten(0, 1))
    out: Tensor = frames.unflatten(0, (clips.shape[0], clips.shape[2]))
    return out.transpose(1, 2)
