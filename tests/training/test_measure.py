"""Costs: operations against a count by hand, times in turns."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from repflow_pl.layers.flow import RepFlow
from repflow_pl.ops import flow_flops
from repflow_pl.training.costs import measure
from repflow_pl.training.costs.measure import (
    count_flops,
    in_turns,
    kept_for_backward,
    measure_latency,
)


def test_operations_of_a_convolution_by_hand() -> None:
    conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
    image = torch.randn(1, 3, 8, 8)
    assert count_flops(conv, (image,)) == 2 * 3 * 9 * 5 * 8 * 8


def test_flow_iterations_are_counted_beside_the_convolutions() -> None:
    layer, clip = RepFlow(6, 4, n_iter=5), torch.randn(1, 6, 3, 8, 8)
    convolutions = 2 * 6 * 4 * 3 * 64 + 2 * 8 * 6 * 2 * 64  # 1x1 on 3 frames, 1x1 on 2 flows
    assert count_flops(layer, (clip,)) == convolutions + flow_flops(2 * 4, 8, 8, 5)
    assert layer.training, "counting leaves the mode as it was"
    assert not layer.iteration._forward_pre_hooks


def test_timers_take_turns() -> None:
    calls: list[str] = []

    def timer(name: str) -> Callable[[], int]:
        def call() -> int:
            calls.append(name)
            return len(calls)

        return call

    told: list[tuple[int, int]] = []
    measured = in_turns(
        [timer(name) for name in "abc"],
        rounds=2,
        warm_up=1,
        after_round=lambda done: told.append((done, len(calls))),
    )
    assert "".join(calls) == "abcabcabc"
    assert measured == [[4, 7], [5, 8], [6, 9]], "without the warm-up"
    assert told == [(0, 3), (1, 6), (2, 9)]


def test_what_is_kept_for_the_backward_pass() -> None:
    """Of a linear layer its input, of ReLU its output, of a dropout in training its mask."""
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5)).eval()
    assert kept_for_backward(net, [torch.zeros(3, 10)]) == 4 * 3 * (10 + 20)
    assert not net.training
    masked = nn.Sequential(nn.ReLU(), nn.Dropout(0.5))
    plain = kept_for_backward(masked[:1], [torch.zeros(3, 10, requires_grad=True)])
    assert kept_for_backward(masked, [torch.zeros(3, 10, requires_grad=True)]) > plain == 120


class DeadEnd(nn.Module):
    """A branch saves twice as much as the input and leads nowhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.cat([x, x]).exp()
        return (x + 1).exp()


def test_what_a_branch_without_effect_saved_is_not_kept() -> None:
    x = torch.zeros(3, 10, requires_grad=True)
    assert kept_for_backward(DeadEnd(), [x]) == 4 * 3 * 10


class Sleep(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return x


def test_the_ratio_is_that_of_the_two_models() -> None:
    inputs = (torch.zeros(1),)
    latency = measure_latency(Sleep(0.02), inputs, Sleep(0.01), inputs, repeats=7)
    assert latency.ratio == pytest.approx(2, rel=0.25)
    assert latency.q25_ms <= latency.median_ms <= latency.q75_ms
    assert (latency.n, latency.tvl1_ms) == (7, 0)


def test_quartiles_of_few_times_lie_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.cycle([1.0, 1.0, 100.0, 100.0])  # of both, one round after the other
    monkeypatch.setattr(measure, "forward_ms", lambda *_: next(times))
    latency = measure_latency(nn.Identity(), (), nn.Identity(), (), repeats=2)
    assert 1 < latency.q25_ms < latency.median_ms < latency.q75_ms < 100


def test_tvl1_is_part_of_the_time() -> None:
    inputs = (torch.zeros(1),)
    plain = measure_latency(Sleep(0.01), inputs, Sleep(0.01), inputs, repeats=5)
    both = measure_latency(Sleep(0.01), inputs, Sleep(0.01), inputs, [29, 30, 90], repeats=5)
    assert both.tvl1_ms == 30
    assert both.median_ms == pytest.approx(plain.median_ms + 30, rel=0.25)
    assert both.ratio == pytest.approx(4, rel=0.3)
