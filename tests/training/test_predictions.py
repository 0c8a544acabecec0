"""What each test video was given survives its file, and gives back the accuracies."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from repflow_pl.errors import UserError
from repflow_pl.models.streams import LateFusion
from repflow_pl.specs import LateSpec, RunSpec, spec_hash
from repflow_pl.strict import parse
from repflow_pl.training.metrics import VideoAccuracy
from repflow_pl.training.recording.predictions import (
    PREDICTIONS,
    Predictions,
    joined,
    numbered,
    read_predictions,
    write_predictions,
)

RUNS = Path(__file__).parents[2] / "tables" / "runs"


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


@given(st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_what_was_kept_is_joined_as_the_networks_would_be(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(2, 40, 1, 5, generator=generator)
    labels = torch.randint(5, (40,), generator=generator)
    unread = torch.zeros(2, 40, dtype=torch.bool)
    unread[0, :2] = unread[1, 1:3] = True
    metric = VideoAccuracy(40, 5)
    fused = LateFusion([nn.Identity(), nn.Identity()], [[0], [1]])(*scores[:, :, 0])
    metric.update(fused[:, None], labels, torch.arange(40), unread.any(0))
    rank, probabilities = metric.of_each_video()
    parts = []
    for one, lost in zip(scores, unread, strict=True):
        part = VideoAccuracy(40, 5)
        part.update(one, labels, torch.arange(40), lost)
        kept, said = part.of_each_video()
        parts.append(
            Predictions(labels.numpy(), np.arange(40), kept.numpy(), said.double().numpy().round(3))
        )
    found = joined(parts)
    assert abs(found.scores - probabilities.numpy()).max() < 0.00051
    true = probabilities.gather(1, labels[:, None])
    others = (probabilities - true).abs().scatter(1, labels[:, None], 1.0)
    clear = ((others > 0.0011).all(1) & ~unread.any(0)).numpy()
    assert clear.sum() > 20 and (found.rank == rank.numpy())[clear].all()
    assert (found.rank[:3] >= 5).all() and (rank[:3] >= 5).all(), "read by both or wrong"


def test_a_tie_of_what_was_kept_is_wrong() -> None:
    zero = np.zeros(1, np.int64)
    parts = [
        Predictions(zero, zero, zero, np.array([scores])) for scores in ([0.7, 0.1], [0.1, 0.7])
    ]
    assert joined(parts).rank.tolist() == [1]


@pytest.mark.long
def test_the_published_late_fusions_are_what_their_parts_kept() -> None:
    compared = other = 0
    for path in RUNS.glob("*/seed*/spec.json"):
        spec = parse(RunSpec, json.loads(path.read_text()))
        if isinstance(spec.model, LateSpec) and (path.parent / PREDICTIONS).is_file():
            folders = [RUNS / spec_hash(part) / path.parent.name for part in spec.model.members]
            found = joined([read_predictions(folder / PREDICTIONS) for folder in folders])
            made = read_predictions(path.parent / PREDICTIONS)
            compared, other = compared + len(made.rank), other + (made.rank != found.rank).sum()
            assert abs(made.scores - found.scores).max() < 0.00101
    assert compared > 3000 and other <= compared / 1000


def test_groups_are_numbered_as_they_come() -> None:
    assert numbered(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]


ONE_BYTE = bytearray(gzip.compress(b"label,group,rank,0,1\n" * 9, mtime=0))
ONE_BYTE[10] ^= 0xFF


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00cut", ONE_BYTE])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        read_predictions(path)
