"""What tells the classes without motion, or without a network: metadata, frames, differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repflow_pl.audit.resample import Floats, resample
from repflow_pl.audit.thumbs import Thumbs
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.data.upkeep.metadata import FEATURES, metadata_baseline
from repflow_pl.report.stats import Answers, accuracy
from repflow_pl.training.recording.predictions import groups_of

SEEDS = 3
"""Forests on metadata."""
GRID = (12, 16)
"""Rows and columns that a picture is reduced to."""
SHOWN = 8
"""Pictures of a video that the probe on frames sees, one at a time."""
PENALTY = 100.0
"""Of the linear probes' squared weights, on features of variance 1."""


@dataclass(frozen=True)
class Probe:
    """How many test videos are named right by something that sees little of them."""

    sees: str
    fold: int
    accuracy: float
    """A fraction, as are the next ones."""
    low: float
    """Of the 95 % interval, for which videos of one group are one."""
    high: float
    chance: float
    """Of always naming the test part's most frequent class."""

    @property
    def tells(self) -> bool:
        """Whether it does better than chance."""
        return self.low > self.chance


def probes(split: VideoSet, thumbs: Mapping[str, Thumbs]) -> Iterator[Probe]:
    """Of a split whose training and test part each have two classes or more; else none."""
    train = [video for video in split.known if video.path in thumbs]
    test = [video for video in split.part("test") if video.path in thumbs]
    if min(len({video.label for video in part}) for part in (train, test)) < 2:
        return
    labels = np.array([video.label for video in test])
    chance = float(np.bincount(labels).max() / len(labels))
    every = split.part("test")

    def probe(sees: str, right: npt.NDArray[np.bool_], of: Sequence[Video]) -> Probe:
        # Twice the same: what does not depend on chance does not spread over seeds.
        values = right.astype(float) if len(right) > 1 else right.astype(float).repeat(2, 0)
        found = accuracy([Answers(values, groups_of(of))])
        low, high = found.low or 0.0, 1.0 if found.high is None else found.high
        return Probe(
            sees, split.fold, *(round(each, 4) for each in (found.mean, low, high, chance))
        )

    yield probe("length, size and rate", metadata_baseline(split, SEEDS).right, every)
    for name in FEATURES:
        yield probe(f"{name} alone", metadata_baseline(split, 1, (name,)).right, every)
    for sees, features in (("single frames", of_frames), ("differences of frames", of_differences)):
        known = [features(thumbs[video.path]) for video in train]
        asked = [features(thumbs[video.path]) for video in test]
        answers = linear([video.label for video in train], known, asked)
        yield probe(sees, (answers == labels)[None], test)


def of_frames(thumbs: Thumbs) -> Floats:
    """[SHOWN, features]: of single frames, an example each."""
    places = np.linspace(0, len(thumbs.pictures) - 1, SHOWN).round().astype(int)
    return resample(thumbs.pictures[places], GRID).reshape(SHOWN, -1)


def of_differences(thumbs: Thumbs) -> Floats:
    """[1, features]: where and how much frames differ from those before, over the whole video."""
    differences = np.abs(thumbs.after.astype(np.float32) - thumbs.pictures)
    small = resample(differences, GRID)
    made: Floats = np.stack([small.mean(0), small.std(0)]).reshape(1, -1)
    return made


def linear(
    labels: Sequence[int], known: Sequence[Floats], asked: Sequence[Floats]
) -> npt.NDArray[np.int64]:
    """The labels of `asked` videos by a ridge regression on the `known` ones.

    A video has an example a row; its label is the one with the largest score over all of them.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = sorted(set(labels))
    model = make_pipeline(StandardScaler(), RidgeClassifier(PENALTY))
    model.fit(np.concatenate(known), np.repeat(labels, [len(each) for each in known]))
    found = []
    for each in asked:
        scores = np.atleast_1d(model.decision_function(each).mean(0))
        place = int(scores.argmax()) if len(names) > 2 else int(scores[0] > 0)
        found.append(names[place])
    return np.array(found)
