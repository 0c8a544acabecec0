"""Networks timed on one clip: TV-L1 where it belongs, every member of a fusion, anew each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from repflow_pl.data.views import CHANNELS, FEWER
from repflow_pl.models.placement import ClipClassifier
from repflow_pl.models.streams import FieldStack
from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec, DataStream
from repflow_pl.training.costs.clip_times import ClipTime, time_models

FRAMES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
CPU = torch.device("cpu")
PROFILE, DATA = build_profile("demo", "folder"), DataSpec("folder")


def no_fields(streams: Sequence[DataStream]) -> float:
    return 0.0


def test_fields_are_made_in_every_turn_of_the_rows_that_need_them() -> None:
    made = []

    def make_fields(streams: Sequence[DataStream]) -> float:
        if streams == ("rgb",):
            return 0.0
        made.append(1000.0 + len(made))
        return made[-1]

    specs = [PROFILE.rgb(DATA), PROFILE.tvl1(DATA), PROFILE.two_stream(DATA)]
    models = [s.model for s in specs]
    rgb, flow, both = time_models(models, 2, FRAMES, CPU, 2, make_fields)
    assert [t.tvl1_ms for t in rgb.times] == [0, 0]
    # Three rounds of warm-up took the first six extractions.
    assert [t.tvl1_ms for t in flow.times] == [1006, 1008]
    assert [t.tvl1_ms for t in both.times] == [1007, 1009]
    assert all(t.forward_ms > 0 for model in (rgb, flow, both) for t in model.times)
    assert both.parameters == rgb.parameters + flow.parameters
    assert ClipTime(forward_ms=2, tvl1_ms=5).total_ms == 7


def test_every_member_runs_in_evaluation_without_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, mixed = [], []

    def note(self: ClipClassifier, clip: torch.Tensor) -> torch.Tensor:
        seen.append((self.training, torch.is_grad_enabled(), tuple(clip.shape)))
        mixed.append(torch.is_autocast_enabled("cpu"))
        return torch.zeros(1, 2)

    monkeypatch.setattr(ClipClassifier, "forward", note)
    time_models([PROFILE.two_stream(DATA).model], 2, FRAMES, CPU, 1, no_fields)
    rgb = (False, False, (1, 3, 8, 32, 32))
    stack = (False, False, (1, 2 * PROFILE.stack, 7 - PROFILE.stack + 1, 32, 32))
    assert seen == [rgb, stack] * 4, "three rounds of warm-up, then one"
    assert not any(mixed)
    mixed.clear()
    time_models([PROFILE.rgb(DATA).model], 2, FRAMES, CPU, 1, no_fields, mixed=True)
    assert mixed == [True] * 4


def test_fields_of_fields_are_fewer_and_have_more_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    forward = FieldStack.forward

    def note(self: FieldStack, fields: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(fields.shape))
        return forward(self, fields)

    monkeypatch.setattr(FieldStack, "forward", note)
    time_models([PROFILE.tvl1_twice(DATA).model], 2, FRAMES, CPU, 1, no_fields)
    assert set(seen) == {(1, CHANNELS["tvl1_twice"], 8 - FEWER["tvl1_twice"], 32, 32)}


def test_progress_is_told() -> None:
    told: list[int] = []
    model = PROFILE.flow_after(DATA, 3).model
    (timed,) = time_models([model], 2, FRAMES, CPU, 3, no_fields, after_round=told.append)
    assert told == [0, 1, 2, 3] and len(timed.times) == 3
