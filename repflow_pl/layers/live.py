"""The flow layer for frames that come one at a time, as from a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import RepFlow


class LiveFlow:
    """A trained `RepFlow` that is given one frame at a time, and keeps what the next one needs.

    It gives what the layer gives to the whole clip, each frame as soon as the next one is there.

    Args:
        layer: in eval mode, and with one range for all clips: of `normalise="running"` or a range.

    Shapes: [B, C, H, W] -> [B, C, H, W], or None for a first frame, which has nothing before it.
    Errors: UserError for a layer that scales clip by clip, is in training mode or has kept no range
    yet, for frames of bytes, and for one of another shape than the one before.
    """

    def __init__(self, layer: RepFlow) -> None:
        if layer.range is None:
            raise UserError(
                f"a layer with normalise={layer.normalise!r} needs the whole clip to scale a "
                'frame: train one with normalise="running", or give a range (low, high).'
            )
        self.layer = layer
        self._frame: Tensor | None = None
        self._planes: Tensor | None = None

    def reset(self) -> None:
        """Forget the last frame: the next one is of another video."""
        self._frame = self._planes = None

    @torch.no_grad()
    def __call__(self, frame: Tensor) -> Tensor | None:
        if self.layer.training:
            raise UserError("the layer is in training mode: call layer.eval() before live frames.")
        fits = frame.ndim == 4 and frame.shape[1] == self.layer.channels
        if not fits or not frame.is_floating_point():
            raise UserError(
                f"LiveFlow takes a frame [B, {self.layer.channels}, H, W] of floating point; this "
                f"is {list(frame.shape)}, {frame.dtype}."
            )
        before, planes_before = self._frame, self._planes
        if before is not None and before.shape != frame.shape:
            raise UserError(
                f"a frame of shape {list(frame.shape)} came after one of {list(before.shape)}: "
                "call reset() where another video begins."
            )
        kept = self.layer.range
        if before is None and kept is not None and kept.fixed is None and kept.batches == 0:
            raise UserError(
                'the layer has no range yet: train it with normalise="running", or load weights '
                "that were trained so."
            )
        planes = self.layer.planes(frame[:, :, None])[:, :, 0]
        self._frame, self._planes = frame.clone(), planes  # a camera may write into its own again
        if before is None or planes_before is None:
            return None
        flow = self.layer.iteration(planes_before, planes)
        return self.layer.features(flow[:, :, None], before[:, :, None])[:, :, 0]
