"""Evaluation is exact for every number of videos, batch size and number of processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy

from repflow_pl.data.sampler import EpochSampler
from repflow_pl.training.metrics import Accuracies, VideoAccuracy

CLASSES, VIEWS = 7, 3
SIZES, BATCHES = range(1, 18), (1, 2, 3, 5, 16)


def made_up(videos: int) -> tuple[Tensor, Tensor]:
    """Scores [videos, VIEWS, CLASSES] that are right more often than chance, and labels."""
    generator = torch.Generator().manual_seed(videos)
    labels = torch.randint(CLASSES, (videos,), generator=generator)
    scores = torch.randn(videos, VIEWS, CLASSES, generator=generator)
    scores[torch.arange(videos), :, labels] += 1
    return scores, labels


def counted(videos: int) -> Accuracies:
    """By counting, one video after the other."""
    scores, labels = made_up(videos)
    places = []
    for score, label in zip(scores.softmax(-1), labels, strict=True):
        every = [score.mean(0), *score]
        places.append([int((each > each[label]).sum()) for each in every])
    first = [place[0] for place in places]
    clips = [rank for place in places for rank in place[1:]]
    losses = cross_entropy(scores.flatten(0, 1), labels.repeat_interleave(VIEWS))
    return Accuracies(
        sum(rank < 1 for rank in first) / videos,
        sum(rank < 5 for rank in first) / videos,
        sum(rank < 1 for rank in clips) / len(clips),
        sum(rank < 5 for rank in clips) / len(clips),
        videos,
        loss=losses.item(),
    )


def batches(videos: int, ranks: int, rank: int, batch: int) -> Iterator[Tensor]:
    """What a process's evaluation loader hands out: indices of videos."""
    sampler = EpochSampler(videos, shuffle=False, ranks=ranks, rank=rank)
    yield from torch.tensor([index for index, _ in sampler]).split(batch)


def share(videos: int, ranks: int, rank: int, batch: int) -> VideoAccuracy:
    """A process's metric after its part."""
    scores, labels = made_up(videos)
    metric = VideoAccuracy(videos, CLASSES)
    for some in batches(videos, ranks, rank, batch):
        metric.update(scores[some], labels[some], some)
    return metric


def assert_exact(found: Accuracies, videos: int) -> None:
    expected = counted(videos)
    assert found.videos == videos
    assert (found.top1, found.top5) == (expected.top1, expected.top5)
    # clips' right answers are kept as float32 fractions of a video's views
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.long
@given(st.sampled_from(SIZES), st.integers(1, 3), st.integers(1, 17))
@settings(deadline=None, max_examples=150)
def test_simulated_processes(videos: int, ranks: int, batch: int) -> None:
    parts = [share(videos, ranks, rank, batch) for rank in range(ranks)]
    merged = parts[0]
    for name, reduce in merged._reductions.items():
        assert reduce is not None
        setattr(merged, name, reduce(torch.stack([getattr(part, name) for part in parts])))
    assert_exact(merged.compute(), videos)


@given(st.sampled_from(SIZES), st.integers(1, 3), st.integers(1, 17))
@settings(deadline=None, max_examples=100)
def test_every_process_has_as_many_batches(videos: int, ranks: int, batch: int) -> None:
    """Else the one that has more waits for ever; and no video is left out."""
    shares = [list(batches(videos, ranks, rank, batch)) for rank in range(ranks)]
    assert len({len(one) for one in shares}) == 1
    assert {int(index) for one in shares for some in one for index in some} == set(range(videos))


def _as_rank(rank: int, ranks: int, port: int) -> dict[tuple[int, int], Accuracies]:
    """By the number of videos and the batch."""
    address, wait = f"tcp://127.0.0.1:{port}", timedelta(minutes=4)
    dist.init_process_group("gloo", address, timeout=wait, rank=rank, world_size=ranks)
    found = {
        (videos, batch): share(videos, ranks, rank, batch).compute()
        for videos in SIZES
        for batch in BATCHES
    }
    dist.destroy_process_group()
    return found


def _in_a_process(number: int, ranks: int, port: int, out: str) -> None:
    found = _as_rank(number + 1, ranks, port)
    torch.save({key: tuple(value) for key, value in found.items()}, f"{out}/second.pt")


@pytest.mark.long
def test_two_real_processes(tmp_path: Path) -> None:
    """This one is the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = spawn(_in_a_process, args=(2, port, str(tmp_path)), nprocs=1, join=False)
    first = _as_rank(0, 2, port)
    while not other.join():
        pass
    for found in (first, torch.load(tmp_path / "second.pt", weights_only=True)):
        assert len(found) == len(SIZES) * len(BATCHES)
        for (videos, _), values in found.items():
            assert_exact(Accuracies(*values), videos)
