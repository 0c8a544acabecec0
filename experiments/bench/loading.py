"""Clips per second of the loader, of decord alone on the same frames, and of the cache; and how
long a device that is fed by it stands still."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from torch import Tensor
from torch.utils.data import DataLoader

from repflow_pl.data.clips import Batch, ClipDataset, collate
from repflow_pl.data.decoding.decode import VARIABLE, Decoder, Read, time_reads
from repflow_pl.data.decoding.isolated import IsolatedProcess
from repflow_pl.data.frames.cache import DecodedFrames
from repflow_pl.data.frames.reader import Frames, Reader
from repflow_pl.data.frames.reader import Read as Asked
from repflow_pl.data.index import VideoSet, default_clip
from repflow_pl.data.module import COPYING
from repflow_pl.data.sampler import Draw
from repflow_pl.quartiles import Quartiles, quartiles_over
from repflow_pl.specs import ClipSpec

STEP, STEP_CLIPS = 0.024, 24
"""Seconds that a pretended device is busy with so many clips: 1,000 a second, as the plain network
trains at on an H100 at the paper's setting."""
PREFETCH = 2
"""Batches that each worker has before it, as PyTorch's loaders have if nobody says otherwise."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    clip: ClipSpec
    frames: tuple[int, ...]
    """Clip lengths."""
    workers: tuple[int, ...]
    """Numbers of loading processes."""
    decoders: tuple[Decoder, ...]
    clips: int
    """Counted in each turn; a multiple of `batch`."""
    batch: int
    turns: int


@dataclass(frozen=True)
class Case:
    """One line of the result."""

    decoder: Decoder
    frames: int
    workers: int


@dataclass(frozen=True)
class Feed:
    """What feeds a pretended device: kept frames, or decoding by PyAV; so many workers."""

    kept: bool
    workers: int


@dataclass(frozen=True)
class Results:
    """Clips per second, turn by turn."""

    loader: Mapping[Case, list[float]]
    decord: Mapping[tuple[int, int], list[float]]
    """decord alone, by (frames, processes)."""
    decoded: list[float]
    """An epoch that decodes, and one from the cache; none where the set does not fit into it."""
    cached: list[float]
    took: float
    waits: Mapping[Feed, list[float]] = field(default_factory=dict)
    """Part of the time in which a pretended device has no batch, turn by turn."""
    memory: Mapping[Case, int] = field(default_factory=dict)
    """Most bytes that a loader's workers and the processes that decode for them took."""

    def of_floor(self, case: Case) -> Quartiles:
        """The loader over decord alone, turn by turn."""
        return quartiles_over(self.loader[case], self.decord[case.frames, case.workers])

    def speedup(self) -> Quartiles | None:
        """The cache over decoding, turn by turn."""
        return quartiles_over(self.cached, self.decoded) if self.cached else None


def run(video_set: VideoSet, plan: Plan, tell: Callable[[str], None]) -> Results:
    """Measure everything; each turn takes decord alone and the loader with every decoder."""
    begin = time.perf_counter()
    loader: dict[Case, list[float]] = {}
    decord: dict[tuple[int, int], list[float]] = {}
    memory: dict[Case, int] = {}
    for frames in plan.frames:
        dataset = _Endless(video_set, dataclasses.replace(plan.clip, frames=frames))
        for workers in plan.workers:
            reads = dataset.reads(counted(plan, workers))
            alone = decord[frames, workers] = []
            cases = [Case(decoder, frames, workers) for decoder in plan.decoders]
            loader |= {case: [] for case in cases}
            for turn in range(plan.turns):
                tell(f"{frames} frames, {workers} workers: turn {turn + 1} of {plan.turns}")
                alone.append(decord_rate(reads, workers))
                for case in cases:
                    rate, taken = loader_rate(dataset, case, plan)
                    loader[case].append(rate)
                    memory[case] = max(memory.get(case, 0), taken)
    tell("an epoch decoded, and one from the cache")
    decoded, cached = epoch_rates(video_set, plan.turns)
    waits = all_waits(video_set, plan, tell)
    took = time.perf_counter() - begin
    return Results(loader, decord, decoded, cached, took, waits, memory)


def counted(plan: Plan, workers: int) -> range:
    """The clips that are counted: those before them are loaded until all workers are under way."""
    first = plan.batch * (1 + PREFETCH * workers)
    return range(first, first + plan.clips)


def decord_rate(reads: Sequence[Read], processes: int) -> float:
    """Clips per second of decord alone in so many processes."""
    children = [IsolatedProcess(timeout=3600.0) for _ in range(processes)]
    shares = [list(reads[k::processes]) for k in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(lambda child: child.call(len, ""), children))  # started
        seconds: list[float] = list(
            pool.map(lambda child, share: child.call(time_reads, share), children, shares)
        )
    for child in children:
        child.stop()
    return len(reads) / max(seconds)


def loader_rate(dataset: ClipDataset, case: Case, plan: Plan) -> tuple[float, int]:
    """Clips per second of the loader, counted while all its workers are under way, and the bytes
    that its processes take then."""
    clips = counted(plan, case.workers)
    loader = DataLoader(
        dataset,
        plan.batch,
        num_workers=case.workers,
        collate_fn=collate,
        prefetch_factor=PREFETCH,
    )
    with decoding_by(case.decoder):
        batches = iter(loader)
        for _ in range(clips.start // plan.batch):
            next(batches)
        begin = time.perf_counter()
        for _ in range(len(clips) // plan.batch):
            next(batches)
        rate = len(clips) / (time.perf_counter() - begin)
        return rate, sum(bytes_of(child.pid) for child in multiprocessing.active_children())


def bytes_of(pid: int | None) -> int:
    """Memory of a process and of those that it started, what they share counted once; 0 where
    Linux's /proc is not there to say so."""
    process = Path(f"/proc/{pid}")
    try:
        text = (process / "smaps_rollup").read_text()
        children = (process / "task" / str(pid) / "children").read_text().split()
    except OSError:  # another system, or it has ended
        return 0
    (kilobytes,) = (line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))
    return 1024 * int(kilobytes) + sum(bytes_of(int(child)) for child in children)


def all_waits(
    video_set: VideoSet, plan: Plan, tell: Callable[[str], None]
) -> dict[Feed, list[float]]:
    """What a pretended device waits, by what feeds it."""
    clip = dataclasses.replace(plan.clip, frames=plan.frames[0])
    kept = _Endless(video_set, clip, kept=True)
    decoded = _Endless(video_set, clip)
    feeds = {Feed(False, workers): decoded for workers in plan.workers}
    if kept.cached:
        feeds |= {Feed(True, workers): kept for workers in (0, 1, COPYING)}
    waits: dict[Feed, list[float]] = {feed: [] for feed in feeds}
    steps = max(2, plan.clips // STEP_CLIPS)
    for turn in range(plan.turns):
        tell(f"a pretended device: turn {turn + 1} of {plan.turns}")
        for feed, dataset in feeds.items():
            waits[feed].append(wait_share(dataset, feed.workers, steps))
    return waits


def wait_share(dataset: ClipDataset, workers: int, steps: int, seconds: float = STEP) -> float:
    """Part of the time in which a device that is busy so many seconds with a batch has none.

    Beside workers a thread takes each batch out of their memory, as torch's does that pins them.
    """
    loader = DataLoader(dataset, STEP_CLIPS, num_workers=workers, collate_fn=collate)
    waited = 0.0
    with decoding_by("pyav"), ThreadPoolExecutor(1) as thread:
        batches = iter(loader)

        def take() -> list[Tensor]:
            return [tensor.clone() for tensor in next(batches).inputs]

        for _ in range(1 + PREFETCH * workers):  # until all workers are under way
            next(batches)
        coming = thread.submit(take) if workers else None
        for _ in range(steps):
            time.sleep(seconds)
            begin = time.perf_counter()
            if coming is None:
                next(batches)
            else:
                coming.result()
                coming = thread.submit(take)
            waited += time.perf_counter() - begin
    return waited / (waited + steps * seconds)


def decoding_by(decoder: Decoder) -> AbstractContextManager[object]:
    """The choice of a decoder, for this process and those that it starts."""
    return patch.dict(os.environ, {VARIABLE: decoder})


def epoch_rates(video_set: VideoSet, turns: int) -> tuple[list[float], list[float]]:
    """Clips per second of an epoch at the set's own size in this process, decoded and cached."""
    clip = default_clip(video_set.name)
    dataset = ClipDataset(video_set, "train", clip, training=True)
    if not dataset.cached:
        return [], []
    readers = (_Here(DecodedFrames(video_set.root, clip)), dataset.readers["rgb"])
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for reader, found in zip(readers, rates, strict=True):
            dataset.readers["rgb"] = reader
            dataset[0]
            begin = time.perf_counter()
            for index in range(len(dataset)):
                dataset[index, 1]
            found.append(len(dataset) / (time.perf_counter() - begin))
    return rates


class _Endless(ClipDataset):
    """Training clips without end, decoded where they are not kept; and what they ask of a
    decoder."""

    def __init__(self, video_set: VideoSet, clip: ClipSpec, kept: bool = False) -> None:
        super().__init__(video_set, "train", clip, training=True, kept=kept)
        self.root = video_set.root

    def __len__(self) -> int:
        return sys.maxsize

    def __getitems__(self, draws: Sequence[Draw | int]) -> Batch:
        """Clip n is the video n, counted round the part, in the epoch of that round."""
        count = len(self.videos)
        numbers = [draw if isinstance(draw, int) else draw[0] for draw in draws]
        return super().__getitems__([(n % count, n // count) for n in numbers])

    def reads(self, clips: range) -> list[Read]:
        """Files and frames of these clips, in order."""
        count = len(self.videos)
        return [
            (self.root / self.videos[clip.index].path, clip.times, self.videos[clip.index].access)
            for n in clips
            for clip in self._draw(n % count, n // count)
        ]


class _Here(Reader):
    """Decodes in this process, one clip after the other."""

    def stream(self, reads: Sequence[Asked]) -> Iterator[Frames | Exception]:
        for video, indices in reads:
            yield self.source.finish(video, self.source.read(video, indices))
