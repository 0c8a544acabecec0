"""What a model costs: parameters, operations, milliseconds."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from repflow_pl.layers.flow import FlowIteration
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.quartiles import quartiles
from repflow_pl.training.recording.result import Latency

Measured = TypeVar("Measured")


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

    `tvl1_ms`: measured times of making the fields of such a clip; their median is part of the
    model's time. Both models are left in evaluation mode.
    """
    model.eval()
    reference.eval()
    timers = (
        partial(forward_ms, model, inputs),
        partial(forward_ms, reference, reference_inputs),
    )
    pairs = list(zip(*in_turns(timers, repeats), strict=True))
    extraction = statistics.median(tvl1_ms) if tvl1_ms else 0.0
    times = quartiles([mine + extraction for mine, _ in pairs])
    return Latency(
        median_ms=times.median,
        q25_ms=times.low,
        q75_ms=times.high,
        ratio=statistics.median((mine + extraction) / theirs for mine, theirs in pairs),
        tvl1_ms=extraction,
        n=repeats,
    )


def in_turns(
    timers: Sequence[Callable[[], Measured]],
    rounds: int,
    warm_up: int = 3,
    after_round: Callable[[int], None] | None = None,
) -> list[list[Measured]]:
    """Call every timer once a round, one after the other: what each gave, in the order of rounds.

    What disturbs the machine for a while meets all of them alike, so ratios within a round stand
    firm where times do not. The rounds of the warm-up come first and are thrown away.
    `after_round` is told how many rounds are done, once after the warm-up (0) and after each one.
    """
    for _ in range(warm_up):
        for timer in timers:
            timer()
    tell = after_round or (lambda done: None)
    tell(0)
    measured: list[list[Measured]] = [[] for _ in timers]
    for done in range(1, rounds + 1):
        for timer, values in zip(timers, measured, strict=True):
            values.append(timer())
        tell(done)
    return measured


def forward_ms(model: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Milliseconds of one forward pass, a GPU's work included; in the caller's gradient mode."""
    return elapsed_ms(lambda: model(*inputs), inputs[0].is_cuda)


def elapsed_ms(work: Callable[[], object], on_gpu: bool) -> float:
    """Milliseconds of some work, a GPU's included."""
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


class _Saved:
    """A tensor that autograd saved: it goes when the graph that it is a part of goes."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # a result of the graph would hold the graph


def kept_for_backward(model: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Bytes that a forward pass in training mode keeps for the backward pass.

    The inputs count; the model's own parameters and buffers, which are there anyway, do not.
    """
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    saved: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Saved:
        saved.add(held := _Saved(tensor))
        return held

    was_training = model.training
    model.train()
    try:
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor),
        ):
            scores = model(*inputs)
    finally:
        model.train(was_training)
    # The graph of `scores` holds these. What a branch without a way to them saved is gone, and its
    # address may be another tensor's by now.
    storages = [held.tensor.untyped_storage() for held in saved]
    kept = {storage.data_ptr(): storage.nbytes() for storage in storages}
    del scores
    return sum(size for address, size in kept.items() if address not in own)
