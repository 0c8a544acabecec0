"""How fast clips are loaded, beside the floor: the same frames decoded by decord alone.

    python experiments/bench_data.py                                  # motion_shapes, small
    python experiments/bench_data.py --data hmdb51 --data-root ROOT --frames 16,32 --workers 2,4,8

For every decoder, clip length and number of workers one line: clips per second of the whole loader
(decoded, resized, cropped, made a batch of, brought to this process), of decord alone in as many
processes on the same files and frames, and the first over the second. Then, for sets that fit into
it, an epoch through the memory-mapped cache against one that decodes.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

from repflow_pl.data.cache import DecodedFrames, GuardedFrames, MappedFrames, open_frames
from repflow_pl.data.clips import ClipDataset, collate
from repflow_pl.data.decode import VARIABLE, Read, time_reads
from repflow_pl.data.index import VideoSet, default_clip, open_set
from repflow_pl.data.isolated import IsolatedProcess
from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec


@dataclass(frozen=True)
class Setting:
    """One line of the result."""

    decoder: str
    frames: int
    workers: int


class Recorded(ClipDataset):
    """A training part whose clips are decoded, and which can say what it would decode."""

    def __init__(self, video_set: VideoSet, clip: ClipSpec, clips: int) -> None:
        super().__init__(video_set, "train", clip, training=True)
        self.clips = clips
        self.frames = GuardedFrames(DecodedFrames(video_set.root, clip))

    def __len__(self) -> int:
        return self.clips

    def __getitems__(self, draws):  # type: ignore[no-untyped-def]
        count = len(self.videos)
        return super().__getitems__([(draw % count, draw // count) for draw in draws])

    def reads(self) -> list[Read]:
        """Files and frames of all clips, in order."""
        asked: list[Read] = []
        source = self.frames
        self.frames = _Asking(source.source.root, asked, self.clip)  # type: ignore[union-attr]
        for index in range(len(self)):
            self[index]
        self.frames = source
        return asked


@dataclass(frozen=True)
class _Asking:
    """Decodes nothing and writes down what it is asked for."""

    root: Path
    asked: list[Read]
    clip: ClipSpec

    def frames(self, video, indices):  # type: ignore[no-untyped-def]
        import numpy as np

        from repflow_pl.data.cache import prepared_shape

        self.asked.append((self.root / video.path, list(indices), video.access))
        return np.zeros((len(indices), *prepared_shape(video, self.clip), 3), np.uint8)


def floor_rate(reads: Sequence[Read], processes: int) -> float:
    """Clips per second of decord alone in as many processes."""
    children = [IsolatedProcess(timeout=3600.0) for _ in range(processes)]
    shares = [list(reads[k::processes]) for k in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(lambda child: child.call(len, ""), children))  # started
        seconds = list(
            pool.map(lambda child, share: child.call(time_reads, share), children, shares)
        )
    for child in children:
        child.stop()
    return len(reads) / max(seconds)


def loader_rate(dataset: Recorded, workers: int, batch: int) -> float:
    """Clips per second of the loader, from its second batch on."""
    loader = DataLoader(
        dataset, batch_size=batch, num_workers=workers, collate_fn=collate, drop_last=True
    )
    ahead = max(1, workers) * (loader.prefetch_factor or 0)  # loaded while the first was waited for
    batches = iter(loader)
    for _ in range(1 + ahead):
        next(batches)
    begin = time.perf_counter()
    count = sum(len(made.label) for made in batches)
    return count / (time.perf_counter() - begin)


def cache_speedup(video_set: VideoSet, clip: ClipSpec) -> tuple[float, float] | None:
    """Clips per second of one epoch, decoded and from the cache; None where it does not fit."""
    dataset = ClipDataset(video_set, "train", clip, training=True)
    if not isinstance(dataset.frames, MappedFrames):
        return None
    rates = []
    for source in (DecodedFrames(video_set.root, clip), open_frames(video_set, clip)):
        dataset.frames = source
        dataset[0]
        begin = time.perf_counter()
        for index in range(len(dataset)):
            dataset[index, 1]
        rates.append(len(dataset) / (time.perf_counter() - begin))
    return rates[0], rates[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", default="motion_shapes")
    parser.add_argument("--data-root", type=Path | None)
    parser.add_argument("--frames", default="16", help="clip lengths, commas between")
    parser.add_argument("--workers", default="1,2", help="numbers of processes, commas between")
    parser.add_argument("--decoders", default="decord,pyav")
    parser.add_argument("--size", type=int, default=112, help="crop, in pixels; shorter side 8/7")
    parser.add_argument("--clips", type=int, default=200, help="clips loaded for each line")
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args(arguments)
    try:
        video_set = open_set(given.data, given.data_root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    clip = dataclasses.replace(
        default_clip(given.data), size=given.size * 8 // 7, crop=(given.size, given.size),
        source_crop=None, short="hold",
    )  # fmt: skip
    print(f"{given.data}, {given.size} pixels, {os.cpu_count()} cores; clips per second:")
    print("decoder  frames  workers   loader    decord alone   loader / decord alone")
    for frames in map(int, given.frames.split(",")):
        dataset = Recorded(video_set, dataclasses.replace(clip, frames=frames), given.clips)
        for workers in map(int, given.workers.split(",")):
            floor = floor_rate(dataset.reads(), max(1, workers))
            for decoder in given.decoders.split(","):
                os.environ[VARIABLE] = decoder
                rate = loader_rate(dataset, workers, given.batch)
                print(
                    f"{decoder:7}  {frames:6}  {workers:7}  {rate:7.1f}  {floor:14.1f}  "
                    f"{rate / floor:22.2f}",
                    flush=True,
                )
    own = default_clip(given.data)
    cached = cache_speedup(video_set, own)
    if cached is not None:
        decoded, mapped = cached
        print(
            f"an epoch of {own.frames} frames at size {own.size} in this process: "
            f"{decoded:.1f} clips per second decoded, {mapped:.1f} from the cache "
            f"({mapped / decoded:.1f} times as many)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
