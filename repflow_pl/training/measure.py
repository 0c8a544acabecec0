"""What a model costs: parameters, operations, milliseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from repflow_pl.layers.flow import FlowIteration
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.training.result import Latency


@torch.no_grad()
def count_flops(model: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Floating-point operations of model(*inputs): PyTorch's count of convolutions and products,
    and the iterations of every flow layer and TVNet, which that count does not know."""
    iterations = 0

    def add(layer: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal iterations
        assert isinstance(layer, FlowIteration | TVNet)
        iterations += layer.flops(args[0])

    handles = [
        layer.register_forward_pre_hook(add)
        for layer in model.modules()
        if isinstance(layer, FlowIteration | TVNet)
    ]
    was_training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter:
            model(*inputs)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return int(counter.get_total_flops()) + iterations


@torch.no_grad()
def measure_latency(
    model: nn.Module,
    inputs: Sequence[Tensor],
    reference: nn.Module,
    reference_inputs: Sequence[Tensor],
    tvl1_ms: Sequence[float] = (),
    repeats: int = 30,
) -> Latency:
    """Time one forward pass of the model and of the reference in turns, after a warm-up.

    `tvl1_ms`: measured times of computing TV-L1 for such a clip; their median is part of the
    model's time. Both models are left in evaluation mode.
    """
    model.eval()
    reference.eval()
    for _ in range(3):
        model(*inputs)
        reference(*reference_inputs)
    pairs = [
        (_milliseconds(model, inputs), _milliseconds(reference, reference_inputs))
        for _ in range(repeats)
    ]
    extraction = statistics.median(tvl1_ms) if tvl1_ms else 0.0
    times = [mine + extraction for mine, _ in pairs]
    low, _, high = statistics.quantiles(times, n=4)
    return Latency(
        median_ms=statistics.median(times),
        q25_ms=low,
        q75_ms=high,
        ratio=statistics.median((mine + extraction) / theirs for mine, theirs in pairs),
        tvl1_ms=extraction,
        n=repeats,
    )


def _milliseconds(model: nn.Module, inputs: Sequence[Tensor]) -> float:
    on_gpu = inputs[0].is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    model(*inputs)
    if on_gpu:
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)
