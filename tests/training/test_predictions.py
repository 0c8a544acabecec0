"""What each test video was given survives its file, and gives back the accuracies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repflow_pl.errors import UserError
from repflow_pl.training.metrics import VideoAccuracy
from repflow_pl.training.recording.predictions import (
    Predictions,
    numbered,
    read_predictions,
    write_predictions,
)


def a_test(videos: int, classes: int, seed: int) -> tuple[VideoAccuracy, Predictions]:
    """A test of made-up scores, some of them close to each other, one video unread."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(videos, 2, classes, generator=generator) / 10
    labels = torch.randint(classes, (videos,), generator=generator)
    unread = torch.arange(videos) == 1
    metric = VideoAccuracy(videos, classes)
    metric.update(scores, labels, torch.arange(videos), unread)
    rank, probabilities = metric.of_each_video()
    names = [f"source{k // 2}" for k in range(videos)]
    found = Predictions(
        labels.numpy(), numbered(names), rank.numpy(), probabilities.double().numpy()
    )
    return metric, found


@given(st.integers(2, 30), st.integers(2, 12), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, videos: int, classes: int, seed: int
) -> None:
    metric, found = a_test(videos, classes, seed)
    path = tmp_path_factory.mktemp("p") / "predictions.csv.gz"
    write_predictions(path, found)
    again = read_predictions(path)
    for name in ("label", "group", "rank"):
        assert (getattr(again, name) == getattr(found, name)).all()
    assert abs(again.scores - found.scores).max() <= 0.00051
    assert again.right.mean() == pytest.approx(metric.compute().top1)
    readable = np.arange(videos) != 1
    assert ((again.answer == again.label) == again.right)[readable].all(), "also of rounded scores"
    of_class = [found.right[found.label == k].mean() for k in range(classes) if k in found.label]
    accuracy = again.class_accuracy
    assert accuracy[~np.isnan(accuracy)] == pytest.approx(of_class)
    written = path.read_bytes()
    write_predictions(path, again)
    assert path.read_bytes() == written, "they are in a repository: the same are the same bytes"


def test_groups_are_numbered_as_they_come() -> None:
    assert numbered(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00cut"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        read_predictions(path)
