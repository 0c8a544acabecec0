"""VideoAccuracy against torchmetrics, and its exactness over batches and processes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy

from repflow_pl.training.metrics import Accuracies, VideoAccuracy, rank_of

CLASSES = 7


def random_scores(videos: int, views: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(videos, views, CLASSES, generator=generator)
    return scores, torch.randint(CLASSES, (videos,), generator=generator)


def by_torchmetrics(scores: Tensor, labels: Tensor) -> Accuracies:
    def top(k: int, s: Tensor, y: Tensor) -> float:
        return multiclass_accuracy(s, y, CLASSES, average="micro", top_k=k).item()

    video = scores.softmax(-1).mean(1)
    views = labels.repeat_interleave(scores.shape[1])
    flat = scores.flatten(0, 1)
    return Accuracies(
        top(1, video, labels), top(5, video, labels), top(1, flat, views), top(5, flat, views),
        len(labels), loss=cross_entropy(flat, views).item(),
    )  # fmt: skip


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_agrees_with_torchmetrics(videos: int, views: int, seed: int) -> None:
    scores, labels = random_scores(videos, views, seed)
    metric = VideoAccuracy(videos, CLASSES)
    metric.update(scores, labels, torch.arange(videos))
    torch.testing.assert_close(
        torch.tensor(metric.compute()), torch.tensor(by_torchmetrics(scores, labels))
    )


@given(st.integers(1, 17), st.integers(1, 3), st.integers(1, 8), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_is_exact_for_every_number_of_processes(
    videos: int, ranks: int, batch: int, seed: int
) -> None:
    """Padded shares, merged by the state's own reduction, count every video once."""
    scores, labels = random_scores(videos, 2, seed)
    alone = VideoAccuracy(videos, CLASSES)
    alone.update(scores, labels, torch.arange(videos))
    parts = []
    share = -(-videos // ranks)
    for rank in range(ranks):
        metric = VideoAccuracy(videos, CLASSES)
        mine = torch.arange(share) * ranks + rank
        for some in (mine % videos).split(batch):
            metric.update(scores[some], labels[some], some)
        parts.append(metric)
    merged = VideoAccuracy(videos, CLASSES)
    for name in merged.metric_state:
        setattr(merged, name, torch.stack([getattr(part, name) for part in parts]).amax(0))
    merged._update_count = 1
    assert merged.compute() == alone.compute()
    assert merged.compute().videos == videos


def test_what_could_not_be_read_is_counted_and_wrong() -> None:
    scores = torch.eye(CLASSES)[:3, None] * 9  # all right
    metric = VideoAccuracy(4, CLASSES)
    for _ in range(2):  # a video that two processes had
        metric.update(scores, torch.arange(3), torch.arange(3), torch.arange(3) == 1)
    found = metric.compute()
    assert (found.videos, found.unread) == (3, 1)
    assert found.top1 == pytest.approx(2 / 3) and found.clip_top1 == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(cross_entropy(scores[0], torch.tensor([0])).item())


def test_equal_scores_are_no_answer() -> None:
    metric = VideoAccuracy(3, CLASSES)
    metric.update(torch.zeros(3, 1, CLASSES), torch.tensor([0, 1, 2]), torch.arange(3))
    assert metric.compute().top1 == 0


def test_nan_is_no_answer() -> None:
    scores = torch.tensor([[float("nan"), 1.0, 2.0], [3.0, float("nan"), 1.0]])
    assert (rank_of(scores, torch.tensor([2, 0])) > 0).all()


def test_of_two_classes_nan_is_not_among_the_five_best() -> None:
    assert int(rank_of(torch.full((2,), torch.nan), torch.tensor(0))) >= 5
