"""Time per clip of untrained networks, all in turns: weights do not change how long one takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from repflow_pl.data.fields.eight_bit import to_bytes
from repflow_pl.data.fields.tvl1 import tvl1
from repflow_pl.data.floats import to_float
from repflow_pl.models.build import build_model
from repflow_pl.specs import DataStream, LateSpec, ModelSpec, streams_of
from repflow_pl.training.costs.measure import forward_ms, in_turns
from repflow_pl.training.memory import freed_memory_kept

MakeFields = Callable[[Sequence[DataStream]], float]
"""Makes what fields of the timed clip are among a network's streams; how long it took, in
milliseconds."""


@dataclass(frozen=True)
class ClipTime:
    """What one clip took, in milliseconds."""

    forward_ms: float
    """The network's forward pass, of all its members where it is a late fusion."""
    tvl1_ms: float
    """Making the clip's fields, TV-L1's on one core of the CPU; 0 where the network needs none."""

    @property
    def total_ms(self) -> float:
        """From the frames to the scores."""
        return self.forward_ms + self.tvl1_ms


@dataclass(frozen=True)
class ModelTimes:
    """A network and its times, one a round."""

    parameters: int
    times: tuple[ClipTime, ...]


@freed_memory_kept()  # also where this process has trained before
@torch.no_grad()
def time_models(
    models: Sequence[ModelSpec | LateSpec],
    classes: int,
    frames: npt.NDArray[np.uint8],
    device: torch.device,
    rounds: int,
    make_fields: MakeFields,
    after_round: Callable[[int], None] | None = None,
    mixed: bool = False,
) -> list[ModelTimes]:
    """Time all networks on one clip [T, H, W, 3], in turns, in evaluation mode; `mixed`: in bf16.

    A network on fields of motion has the clip's made in every one of its turns; what it is given is
    TV-L1's, whatever it is named for. The networks are freshly initialised; `after_round` as in
    `in_turns`.
    Errors: UserError as `build_model` says.
    """
    inputs = ClipInputs(frames, device)
    networks = [build_model(model, classes).to(device).eval() for model in models]
    timers = [
        partial(_turn, network, streams_of(model), inputs, make_fields)
        for network, model in zip(networks, models, strict=True)
    ]
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        timed = in_turns(timers, rounds, after_round=after_round)
    return [
        ModelTimes(sum(p.numel() for p in network.parameters()), tuple(times))
        for network, times in zip(networks, timed, strict=True)
    ]


class ClipInputs:
    """What networks are given of one clip [T, H, W, 3]: a batch of it for every stream."""

    def __init__(self, frames: npt.NDArray[np.uint8], device: torch.device) -> None:
        fields = np.stack([to_bytes(tvl1(a, b)) for a, b in itertools.pairwise(frames)])
        self._fields = _as_input(fields, device)
        of_fields = self._fields[:, :, 1:].repeat(1, 2, 1, 1, 1)  # their channels and frames
        self._others = {"rgb": _as_input(frames, device), "tvl1_twice": of_fields}

    def of(self, streams: Sequence[DataStream]) -> tuple[Tensor, ...]:
        """Float [1, C, T, H, W] a stream; fields are TV-L1's, whatever they are named for."""
        return tuple(self._others.get(stream, self._fields) for stream in streams)


def _turn(
    network: nn.Module, streams: Sequence[DataStream], clip: ClipInputs, make_fields: MakeFields
) -> ClipTime:
    """One turn of a network: its fields, if any, then its forward pass."""
    extraction = make_fields(streams)
    return ClipTime(forward_ms(network, clip.of(streams)), extraction)


def _as_input(pictures: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """[T, H, W, C] bytes -> a batch of one clip, as networks take it."""
    clip = torch.from_numpy(np.ascontiguousarray(pictures.transpose(3, 0, 1, 2)))
    return to_float(clip[None].to(device))
