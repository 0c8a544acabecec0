"""What a network answers to a video: class probabilities, averaged over its clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.decoding.isolated import IsolatedProcess
from repflow_pl.data.parallel import progress_bar
from repflow_pl.data.views import view_starts
from repflow_pl.errors import UserError
from repflow_pl.showing.one_video import TIMEOUT, one_video
from repflow_pl.showing.weights import Weights

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """Of one video."""

    video: Path
    frames: int
    fps: float
    classes: tuple[str, ...]
    starts: tuple[int, ...]
    """[views]: the frame at which each clip begins."""
    span: int
    """Frames from a clip's first to its last, both counted; beyond the video's end the last one is
    held."""
    views: Scores
    """[views, classes]: class probabilities of the clips."""
    members: tuple[tuple[str, Scores], ...] = ()
    """Of a late fusion: the name and the probabilities, [classes], of each of its networks."""

    @property
    def scores(self) -> Scores:
        """[classes]: the average over the clips."""
        scores: Scores = self.views.mean(0)
        return scores

    def top(self, count: int, scores: Scores | None = None) -> list[tuple[str, float]]:
        """The classes that score highest, the first one first; of a member where one is given."""
        shown = self.scores if scores is None else scores
        return [(self.classes[k], float(shown[k])) for k in best_of(shown, count)]


def ask(weights: Weights, path: Path, process: IsolatedProcess, views: int | None = None) -> Answer:
    """What the network of the weights sees in a video.

    Clips are prepared and scores averaged as in the evaluation of a run, so that a test video is
    given the very answer that the run's result counts. Of a video that is shorter than a clip the
    last frame is held.

    Args:
        process: that decodes, see `one_video`.
        views: how many clips, spread uniformly; None for as many as the weights were measured with.

    Errors: UserError where the video cannot be read or is too small, or its scores are no numbers.
    """
    said = weights.described
    opened = one_video(path, said.classes, process)
    (video,) = opened.videos
    clip = dataclasses.replace(
        said.clip,
        short="hold",
        views=views or said.clip.views,
        flip=False,  # of training alone, and refused of a video of which nothing is known
    )
    dataset = ClipDataset(opened, "test", clip, said.streams, kept=False)
    for reader in dataset.readers.values():
        reader.process = process  # to start one takes longer than a video
    sample = dataset[0]
    if sample.unread:
        raise UserError(f"{path} cannot be read any more: look whether it is still being written.")
    found = weights.scores(sample.inputs)
    scores = _of_views(found.joint, clip.crops)
    if np.isnan(scores).any():
        raise UserError(f"the network's scores of {path} are no numbers: its training failed.")
    return Answer(
        path,
        video.frames,
        video.fps,
        said.classes,
        tuple(view_starts(video.frames, clip, video.fps)),
        clip.offsets(video.fps)[-1] + 1,
        scores,
        tuple((name, _of_views(each, clip.crops).mean(0)) for name, each in found.members),
    )


def ask_each(weights: Weights, videos: Sequence[Path]) -> Iterator[Answer | UserError]:
    """What the network sees in each video in order, with the error of one in its place."""
    process = IsolatedProcess(TIMEOUT)
    try:
        with progress_bar("Asking", len(videos)) as advance:
            for path in videos:
                try:
                    yield ask(weights, path, process)
                except UserError as error:
                    yield error
                advance()
    finally:
        process.stop()


def best_of(scores: Scores, count: int) -> npt.NDArray[np.intp]:
    """The numbers of the classes that score highest, the first one first."""
    return np.argsort(-scores, kind="stable")[:count]


def _of_views(scores: Tensor, crops: int) -> Scores:
    """[views x crops, classes] -> probabilities [views, classes]."""
    probabilities = scores.double().softmax(1).unflatten(0, (-1, crops)).mean(1)
    found: Scores = probabilities.numpy()
    return found
