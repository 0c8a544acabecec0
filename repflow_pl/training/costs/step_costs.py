"""What a training step costs: its time, of all networks in turns, and the memory that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.specs import LateSpec, ModelSpec, networks_of, streams_of, training_streams_of
from repflow_pl.training.costs.clip_times import ClipInputs
from repflow_pl.training.costs.measure import elapsed_ms, in_turns, kept_for_backward
from repflow_pl.training.memory import freed_memory_kept


@dataclass(frozen=True)
class StepCost:
    """Of one clip. The members of a late fusion are trained one by one."""

    ms: tuple[float, ...]
    """Forward pass, loss and backward pass, one a round; of a late fusion its members' in sum."""
    kept_bytes: int
    """What the forward pass keeps for the backward pass; the most of a member's."""


@freed_memory_kept()
def step_costs(
    models: Sequence[ModelSpec | LateSpec],
    classes: int,
    frames: npt.NDArray[np.uint8],
    device: torch.device,
    rounds: int,
    after_round: Callable[[int], None] | None = None,
    mixed: bool = False,
) -> list[StepCost]:
    """Time a training step of all networks on one clip [T, H, W, 3], in turns, as `time_models`
    does a forward pass; making fields, which are kept from epoch to epoch, is no part of it.

    Errors: UserError as `build_model` says.
    """
    clip = ClipInputs(frames, device)
    kept = []
    timers = []
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        for model in models:
            members = [(build_model(each, classes).to(device), each) for each in networks_of(model)]
            kept.append(max(kept_for_backward(n, clip.of(streams_of(m))) for n, m in members))
            timers.append(_timer([(n, clip.of(training_streams_of(m))) for n, m in members]))
        timed = in_turns(timers, rounds, after_round=after_round)
    return [StepCost(tuple(ms), size) for ms, size in zip(timed, kept, strict=True)]


def _timer(members: Sequence[tuple[nn.Module, tuple[Tensor, ...]]]) -> Callable[[], float]:
    label = torch.zeros(1, dtype=torch.long, device=members[0][1][0].device)
    for network, _ in members:
        network.train()

    def step() -> None:
        for network, inputs in members:
            network.zero_grad()
            training_loss(network, inputs, label)[1].backward()

    return lambda: elapsed_ms(step, label.is_cuda)
