"""In which order a part's videos are taken, and by which process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DistributedSampler

Draw = tuple[int, int]
"""(index of the video in its part, epoch)."""


class EpochSampler(DistributedSampler[Draw]):
    """Yields (index, epoch), this process's share.

    Step k of all ranks together takes the same videos for every number of ranks: a global batch is
    a run of the epoch's order, dealt out in turn. It is a DistributedSampler by name only, so that
    Lightning calls `set_epoch` and does not put its own in the place.

    Args:
        videos: length of the part.
        shuffle: a new order each epoch, a function of (seed, epoch), and what does not fill all
            ranks is dropped; else the order of the part, padded with its first videos until all
            ranks have as many.
    """

    def __init__(
        self, videos: int, shuffle: bool, seed: int = 0, ranks: int = 1, rank: int = 0
    ) -> None:
        super().__init__(
            range(videos),  # type: ignore[arg-type]
            num_replicas=ranks,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=shuffle,
        )
        self.videos = videos
        self.broken_off = (0, 0)

    def begin_at(self, epoch: int, draws: int) -> None:
        """Go on in an epoch that was broken off after so many of this process's draws.

        Lightning sets the epoch only after the loader's processes have begun to load.
        """
        self.set_epoch(epoch)
        self.broken_off = (epoch, draws)

    def __iter__(self) -> Iterator[Draw]:
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.videos)
        else:
            order = np.arange(self.videos)
        share = np.resize(order, self.total_size)[self.rank :: self.num_replicas]
        epoch, draws = self.broken_off
        left = share[draws:] if epoch == self.epoch else share
        return ((int(index), self.epoch) for index in left)
