"""Training steps timed on one clip: of what is trained, with gradients, and what they keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from repflow_pl.models.build import build_model
from repflow_pl.profiles import build_profile
from repflow_pl.specs import ActionFlowNetSpec, DataSpec, LateSpec, ModelSpec, late
from repflow_pl.training.costs import step_costs as module
from repflow_pl.training.costs.clip_times import ClipInputs
from repflow_pl.training.costs.measure import kept_for_backward
from repflow_pl.training.costs.step_costs import StepCost, step_costs

FRAMES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
CPU = torch.device("cpu")
PROFILE, DATA = build_profile("demo", "folder"), DataSpec("folder")
RGB, FLOW = PROFILE.rgb(DATA), PROFILE.flow_after(DATA, 3)


def costs(*models: ModelSpec | LateSpec, rounds: int = 2) -> list[StepCost]:
    return step_costs(models, 2, FRAMES, CPU, rounds)


def test_a_late_fusion_costs_its_members_one_by_one() -> None:
    rgb, flow, both = costs(RGB.model, FLOW.model, late(RGB, FLOW).model)
    assert both.kept_bytes == max(rgb.kept_bytes, flow.kept_bytes)
    assert isinstance(FLOW.model, ModelSpec)
    network = build_model(FLOW.model, 2)
    assert flow.kept_bytes == kept_for_backward(network, ClipInputs(FRAMES, CPU).of(["rgb"]))
    assert rgb.kept_bytes != flow.kept_bytes
    assert [len(each.ms) for each in (rgb, flow, both)] == [2, 2, 2]


@pytest.mark.parametrize(
    "model",
    [
        PROFILE.two_stream(DATA).model,
        PROFILE.tvl1_twice(DATA).model,
        ModelSpec("narrow", motion=ActionFlowNetSpec(width=8)),  # trained on fields, too
    ],
)
def test_every_step_trains_every_member(
    model: ModelSpec | LateSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def note(
        network: torch.nn.Module, inputs: Sequence[Tensor], labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        assert network.training
        assert all(p.grad is None for p in network.parameters()), "a step adds to another"
        steps.append(network)
        return plain(network, inputs, labels)

    plain = module.training_loss
    monkeypatch.setattr(module, "training_loss", note)
    (cost,) = costs(model, rounds=1)
    assert all(milliseconds > 0 for milliseconds in cost.ms)
    members = len(model.members) if isinstance(model, LateSpec) else 1
    assert len(set(steps)) == members and len(steps) == 4 * members  # three of the warm-up
    for network in set(steps):
        assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
