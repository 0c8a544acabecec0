"""What each test video was given, beside its run's result: predictions.csv.gz. Imports no trainer.

A line a video, in the order of the test part: its class, its group, how many other classes scored
as high as its own, and the scores.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from repflow_pl.data.index import Video
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write

PREDICTIONS = "predictions.csv.gz"
DIGITS = 3
"""Of the scores, which show how sure a network is; `rank` says which one was the highest."""
FACTS = ["label", "group", "rank"]


@dataclass(frozen=True)
class Predictions:
    """Of the N videos of a test part, in its order."""

    label: npt.NDArray[np.int64]
    """[N]."""
    group: npt.NDArray[np.int64]
    """[N]; videos of one number are alike, as those of one source are."""
    rank: npt.NDArray[np.int64]
    """[N]: how many other classes scored as high as the true one or higher; 0 is a right answer,
    and a video that could not be read has as many as there are classes, or more."""
    scores: npt.NDArray[np.float64]
    """[N, classes]: probabilities averaged over a video's views, to three digits; 0 where it could
    not be read."""

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """[N]: whether the answer is."""
        right: npt.NDArray[np.bool_] = self.rank == 0
        return right

    @property
    def answer(self) -> npt.NDArray[np.int64]:
        """[N]: the class that scored highest. Of scores that the three digits cannot tell apart the
        true one is taken where the answer was right, and only there."""
        scores = self.scores.copy()
        true = np.arange(len(self.label)), self.label
        scores[true] += np.where(self.right, 1.0, -0.5 / 10**DIGITS)
        answer: npt.NDArray[np.int64] = scores.argmax(1)
        return answer

    @property
    def class_accuracy(self) -> npt.NDArray[np.float64]:
        """[classes]: top-1 of each class's videos; NaN for a class without any."""
        classes = self.scores.shape[1]
        right = np.bincount(self.label, self.right, classes)
        with np.errstate(invalid="ignore"):
            return right / np.bincount(self.label, minlength=classes)


def groups_of(videos: Sequence[Video]) -> npt.NDArray[np.int64]:
    """[videos]: a number for each group; a video without one is a group of its own."""
    return numbered([video.group or video.path for video in videos])


def numbered(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Groups' names as numbers from 0, in the order in which they come."""
    numbers, _ = pd.factorize(np.array(names, object))
    return np.asarray(numbers, np.int64)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The late fusion of networks that were given the same videos: the mean of what they said.

    As exact as three digits are: a tie counts as wrong, and a video that one could not read too.
    """
    scores = np.mean([part.scores for part in parts], 0).round(2 * DIGITS)  # so that ties are ties
    classes = scores.shape[1]
    true = np.take_along_axis(scores, parts[0].label[:, None], 1)
    unread = np.max([part.rank for part in parts], 0) >= classes
    rank = np.where(unread, classes, (scores >= true).sum(1) - 1)
    return Predictions(parts[0].label, parts[0].group, rank, scores * ~unread[:, None])


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write them, whole or not at all; the same predictions are always the same bytes."""
    scores = np.round(predictions.scores, DIGITS)
    table = pd.DataFrame({name: getattr(predictions, name) for name in FACTS}).join(
        pd.DataFrame(scores).map(lambda score: f"{score:.{DIGITS}g}")
    )
    text = table.to_csv(index=False, lineterminator="\n")
    with atomic_write(path, "wb") as stream:
        stream.write(gzip.compress(text.encode(), mtime=0))


def read_predictions(path: Path) -> Predictions:
    """Read them. Errors: UserError where the file is damaged; FileNotFoundError without one."""
    try:
        table = pd.read_csv(io.BytesIO(gzip.decompress(path.read_bytes())))
        facts = table[FACTS].to_numpy(np.int64)
        scores = table.drop(columns=FACTS).to_numpy(np.float64)
    except (ValueError, KeyError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it and the result beside it, and run the table "
            "again."
        ) from error
    return Predictions(facts[:, 0], facts[:, 1], facts[:, 2], scores)
