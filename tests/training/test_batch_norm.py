"""The number of ranks does not change a training: batch statistics are of the whole batch."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.specs import FlowSpec, ModelSpec
from repflow_pl.training.batch_norm import WholeBatchNorm, share_batch_statistics

BATCH, STEPS = 6, 4
MODELS = {
    "narrow": ModelSpec("narrow", dropout=0.0),
    "flow": ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4), dropout=0.0),
    "3d": ModelSpec("narrow3d", dropout=0.0),
}


def losses(model: nn.Module, rank: int, ranks: int) -> tuple[list[float], Tensor]:
    """The whole batch's loss at every step of a training, and the last running variances."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = []
    for _ in range(STEPS):
        # The ranks' clips are as unlike as a sampler may deal them: dim ones and bright ones.
        level = torch.linspace(0.2, 2, BATCH).reshape(-1, 1, 1, 1, 1)
        clips = level * torch.randn(BATCH, 3, 3, 24, 24, generator=generator) + level
        labels = torch.randint(4, (BATCH,), generator=generator)
        mine = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
        _, loss = training_loss(model, [clips[mine].double()], labels[mine])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        whole = loss.detach() / ranks
        if ranks > 1:
            dist.all_reduce(whole)
        found.append(whole.item())
    running = [buffer for name, buffer in model.named_buffers() if name.endswith("running_var")]
    return found, torch.cat(running)


def _as_rank(rank: int, ranks: int, port: int) -> dict[str, tuple[list[float], Tensor]]:
    address, wait = f"tcp://127.0.0.1:{port}", timedelta(minutes=4)
    dist.init_process_group("gloo", address, timeout=wait, rank=rank, world_size=ranks)
    found = {}
    for name, spec in MODELS.items():
        torch.manual_seed(0)
        model = build_model(spec, 4).double()
        share_batch_statistics(model, on_gpu=False)
        found[name] = losses(DistributedDataParallel(model), rank, ranks)
    dist.destroy_process_group()
    return found


def _in_a_process(number: int, ranks: int, port: int) -> None:
    torch.set_num_threads(1)
    _as_rank(number + 1, ranks, port)


@pytest.mark.long
@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_step_is_that_of_one_rank(ranks: int) -> None:
    """This process is the first rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    others = spawn(_in_a_process, args=(ranks, port), nprocs=ranks - 1, join=False)
    several = _as_rank(0, ranks, port)
    while not others.join():
        pass
    for name, spec in MODELS.items():
        torch.manual_seed(0)
        alone, running = losses(build_model(spec, 4).double(), 0, 1)
        assert several[name][0] == pytest.approx(alone, rel=1e-6), name
        torch.testing.assert_close(several[name][1], running, rtol=1e-6, atol=0)


def test_a_gpu_gets_torchs_own_with_the_same_weights() -> None:
    """Reached without one: only a forward pass in training needs it."""
    model = build_model(MODELS["flow"], 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    share_batch_statistics(model, on_gpu=True)
    kinds = {
        type(layer)
        for layer in model.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    }
    assert kinds == {nn.SyncBatchNorm}
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_alone_it_is_the_ordinary_one() -> None:
    net = nn.Sequential(nn.BatchNorm3d(3))
    clip = torch.randn(2, 3, 4, 5, 5) * 3 + 100
    expected = nn.BatchNorm3d(3)(clip)
    share_batch_statistics(net, on_gpu=False)
    share_batch_statistics(net, on_gpu=False)
    assert type(net[0]) is WholeBatchNorm
    assert torch.equal(net(clip), expected)
