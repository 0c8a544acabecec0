"""Clips: what layers take for one, and 2D modules on them."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError


def check_counts(least: int, **counts: int) -> None:
    """Errors: UserError, one sentence, where one is no count, or less than the least it can be."""
    for name, count in counts.items():
        if not isinstance(count, Integral):
            raise UserError(f"{name} must be a whole number, not {count!r}.")
        if count < least:
            raise UserError(f"{name} must be {least} or more; it is {count}.")


def reset_parts(module: nn.Module) -> None:
    """Initial values for everything inside a module, as after `to_empty` from the meta device."""
    for part in module.modules():
        if part is not module and hasattr(part, "reset_parameters"):
            part.reset_parameters()  # type: ignore[operator]


def check_clips(clips: Tensor, channels: int | None, taker: str) -> None:
    """Errors: UserError where these are no clips [B, channels, T, H, W] of floating point.

    Args:
        channels: None where any number will do.
        taker: who takes them, as the sentence begins.
    """
    takes = f"{taker} takes clips [B, {'C' if channels is None else channels}, T, H, W]"
    shape = list(clips.shape)
    if clips.ndim == 4:
        raise UserError(f"{takes}, and this is {shape}: make one clip a batch by clip[None].")
    if clips.ndim != 5:
        raise UserError(f"{takes}, of five dimensions, and this is {shape}.")
    if channels is not None and clips.shape[1] != channels:
        raise UserError(f"{takes}, of {channels} channels; these are {shape}, {clips.shape[1]}.")
    if not clips.is_floating_point():
        raise UserError(
            f"{takes} of floating point, and these are {clips.dtype}: scale bytes to -1..1 by "
            "clips.float() / 127.5 - 1."
        )


def check_pairs(clips: Tensor, channels: int | None, taker: str, frames: int = 2) -> None:
    """As `check_clips`, and UserError for clips of fewer consecutive frames than `frames`."""
    check_clips(clips, channels, taker)
    if clips.shape[2] < frames:
        least = "two" if frames == 2 else frames
        raise UserError(
            f"{taker} needs clips of {least} frames or more; these have {clips.shape[2]}."
        )


def check_dtype(clips: Tensor, weight: Tensor, taker: str) -> None:
    """Errors: UserError where a layer of this dtype does not take such clips: there is no autocast,
    which makes the two one unless either is float64.

    Args:
        weight: any but a convolution's, which sharding or a parametrisation may hold as another.
    """
    if clips.dtype == weight.dtype or hasattr(weight, "to_local"):
        return  # or sharded by itself: `fully_shard` has yet to give it the dtype of its policy
    device = clips.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if not autocast or torch.float64 in (clips.dtype, weight.dtype):
        raise UserError(
            f"{taker} has weights of {weight.dtype}, and these clips are {clips.dtype}: give "
            f"clips.to({weight.dtype}), or convert the layer by layer.to({clips.dtype})."
        )


def applied(function: type[torch.autograd.Function], *inputs: object) -> Tensor:
    """The function of `inputs`; where no gradient is asked for its forward alone: `apply` reads its
    signature each time, which counts in a layer on a single small clip. So it is under torch.jit,
    which cannot save a Function: what its forward does has the same gradient."""
    alone = torch.jit.is_tracing() or not torch.is_grad_enabled()
    run = function.forward if alone else function.apply
    out: Tensor = run(*inputs)
    return out


def frames_of(clips: Tensor) -> Tensor:
    """[B, C, T, H, W] -> [B * T, C, H, W]."""
    return clips.transpose(1, 2).flatten(0, 1)


def per_pair(module: Callable[[Tensor, Tensor], Tensor], clips: Tensor) -> Tensor:
    """A module of two frames applied to consecutive ones: [B, C, T, H, W] -> [B, C', T - 1, H, W].

    It is called, as are the wrappers that shard a module or checkpoint it.
    """
    frames = clips.transpose(1, 2)
    return module(frames[:, :-1], frames[:, 1:]).transpose(1, 2)


def per_frame(module: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    """A 2D module applied to every frame: [B, C, T, H, W] -> [B, C', T, H', W'].

    Frames become batch items; where the clips came from here this is a view.
    """
    out: Tensor = module(frames_of(clips)).unflatten(0, (clips.shape[0], clips.shape[2]))
    return out.transpose(1, 2)
