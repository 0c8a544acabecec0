"""Accuracy over videos, exact for every batch size and number of processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


class Accuracies(NamedTuple):
    """Fractions of right predictions, the number of videos they are of, and how many of those could
    not be read. Those of single clips are None where only videos' answers are known."""

    top1: float
    top5: float
    clip_top1: float | None
    clip_top5: float | None
    videos: int
    unread: int = 0
    loss: float | None = None
    """Cross-entropy, the mean over the clips of what could be read."""


class VideoAccuracy(Metric):
    """Video and clip accuracy, top-1 and top-5, and the scores, keyed by the video's index.

    A video's class probabilities are averaged over its views; a clip is one view. The state has one
    place for each video, and processes are merged by maximum, so a video that a padded sampler
    hands out twice is counted once. A tie with the true class counts as wrong, so a model that
    gives all classes the same score gets none right.
    """

    full_state_update = False
    rank: Tensor
    clips_top1: Tensor
    clips_top5: Tensor
    loss: Tensor
    unread: Tensor
    probabilities: Tensor

    def __init__(self, videos: int, classes: int) -> None:
        super().__init__()
        for state in ("rank", "clips_top1", "clips_top5", "loss", "unread"):
            self.add_state(state, torch.full((videos,), -1.0), dist_reduce_fx="max")
        self.add_state("probabilities", torch.zeros(videos, classes), dist_reduce_fx="max")

    def update(
        self, scores: Tensor, labels: Tensor, index: Tensor, unread: Tensor | None = None
    ) -> None:
        """scores [B, V, classes] before the softmax; labels [B]; index [B] of the videos.

        `unread` [B]: videos that could not be read; they count as wrong, whatever their scores.
        """
        if unread is None:
            unread = torch.zeros_like(labels, dtype=torch.bool)
        scores = scores.masked_fill(unread[:, None, None], torch.nan)
        clip_labels = labels[:, None].expand(scores.shape[:2])
        losses = F.cross_entropy(scores.flatten(0, 1), clip_labels.flatten(), reduction="none")
        probabilities = scores.float().softmax(-1)
        clip_ranks = rank_of(probabilities, clip_labels)
        self.rank[index] = rank_of(probabilities.mean(1), labels).float()
        self.clips_top1[index] = (clip_ranks < 1).float().mean(1)
        self.clips_top5[index] = (clip_ranks < 5).float().mean(1)
        self.loss[index] = losses.float().unflatten(0, scores.shape[:2]).mean(1)
        self.unread[index] = unread.float()
        self.probabilities[index] = probabilities.mean(1).nan_to_num(0)

    def compute(self) -> Accuracies:
        seen = self.rank >= 0
        rank = self.rank[seen]
        return Accuracies(
            top1=(rank < 1).double().mean().item(),
            top5=(rank < 5).double().mean().item(),
            clip_top1=self.clips_top1[seen].double().mean().item(),
            clip_top5=self.clips_top5[seen].double().mean().item(),
            videos=int(seen.sum()),
            unread=int(self.unread[seen].sum()),
            loss=self.loss[seen].double().nanmean().item(),
        )

    def of_each_video(self) -> tuple[Tensor, Tensor]:
        """What all processes together have: rank [videos] and probabilities [videos, classes],
        both on the CPU; of a video that could not be read the probabilities are 0."""
        with self.sync_context():
            return self.rank.long().cpu(), self.probabilities.cpu()

    def without_numbers(self) -> list[int]:
        """Of all processes: the videos that could be read and whose scores are no numbers."""
        with self.sync_context():
            return (self.loss.isnan() & (self.unread == 0)).nonzero().flatten().tolist()


def rank_of(scores: Tensor, labels: Tensor) -> Tensor:
    """How many other classes score as high as the true one or higher; 0 is a right answer.

    Shapes: [..., classes], [...] -> [...]. A NaN among the scores makes the answer wrong.
    """
    true = scores.gather(-1, labels[..., None])
    beyond = max(scores.shape[-1], 5)  # of the five best too, where there are fewer classes
    return (~(scores < true)).sum(-1) - 1 + scores.isnan().any(-1) * beyond


def saved_sums(metric: Metric) -> dict[str, Tensor]:
    """What each process has summed up: name -> [processes, ...]. To be called in all of them."""
    return {name: _of_all_processes(value) for name, value in metric.metric_state.items()}


def restore_sums(metric: Metric, saved: dict[str, Tensor]) -> None:
    """Go on from what `saved_sums` gave: each process from its own part, which is exact, or, where
    their number has changed, from those of several or from nothing."""
    rank, processes = (
        (distributed.get_rank(), distributed.get_world_size()) if _are_several() else (0, 1)
    )
    for name, parts in saved.items():
        mine = parts[rank::processes].sum(0, dtype=parts.dtype)
        setattr(metric, name, mine.to(metric.device))
    metric._update_count = 1  # nothing may follow but its `compute`, which warns where it is 0


def _of_all_processes(value: Any) -> Tensor:
    assert isinstance(value, Tensor)
    return torch.stack(gather_all_tensors(value) if _are_several() else [value.clone()])


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
