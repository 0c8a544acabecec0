"""What a data set gives away without a look at the pixels.

A random forest on width, height, number of frames and frame rate. Where it is ahead of chance, an
accuracy on the set means less than it seems to, and stands beside this one in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repflow_pl.data.index import Video, VideoSet

FEATURES = ("width", "height", "frames", "fps")
"""What the forest sees of a `Video`."""
TREES = 200


@dataclass(frozen=True)
class MetadataBaseline:
    """Test accuracy from metadata alone, in shares of 1."""

    chance: float
    """Of always naming the most frequent class of the test part."""
    right: npt.NDArray[np.bool_]
    """[seeds, videos of the test part]: which it named right."""

    @property
    def accuracy(self) -> tuple[float, ...]:
        """One per seed of the forest."""
        return tuple(float(each.mean()) for each in self.right)

    @property
    def accuracy_mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.accuracy))

    @property
    def half_width(self) -> float:
        """Half of the 95 % t interval over the seeds: the forest's own scatter, not the videos'."""
        from scipy.stats import t

        n = len(self.accuracy)
        if n < 2:
            return float("nan")
        return float(t.ppf(0.975, n - 1) * np.std(self.accuracy, ddof=1) / np.sqrt(n))


def metadata_baseline(
    video_set: VideoSet, seeds: int = 5, seen: Sequence[str] = FEATURES
) -> MetadataBaseline:
    """Train on what is known, test on the test part; `seen` of FEATURES alone."""
    from sklearn.ensemble import RandomForestClassifier

    train, test = video_set.known, video_set.part("test")
    labels = np.array([video.label for video in test])
    right = []
    for seed in range(seeds):
        forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1)
        forest.fit(_features(train, seen), [video.label for video in train])
        forest.set_params(n_jobs=1)  # votes are added up in one order, for ties
        right.append(forest.predict(_features(test, seen)) == labels)
    chance = float(np.bincount(labels).max() / len(labels))
    return MetadataBaseline(chance, np.stack(right))


def _features(videos: Sequence[Video], seen: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([[float(getattr(video, name)) for name in seen] for video in videos])
