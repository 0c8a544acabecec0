"""Time training and evaluation in turns, then the wait for data, and the peaks of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import DataLoader

from bench.cells import synchronise
from bench.memory import extra_bytes, untrusted
from bench.networks import FLOW, RGB, Call, Part, parts_of, specs_of
from bench.timing import in_turns
from repflow_pl.data.clips import Sample
from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import ClipModule
from repflow_pl.profiles import Profile
from repflow_pl.quartiles import Quartiles, quartiles, quartiles_over
from repflow_pl.specs import ClipSpec
from repflow_pl.training.memory import freed_memory_kept

#: Of a run's time: the networks, and the loader.
TIMING_SHARE, LOADING_SHARE = 0.7, 0.15
MOST_BATCHES = 40


@dataclass(frozen=True)
class Setting:
    """At what the networks are timed."""

    profile: Profile
    clip: ClipSpec
    batch: int
    device: torch.device
    threads: int


@dataclass(frozen=True)
class Results:
    """Seconds turn by turn, by (network, part)."""

    seconds: Mapping[tuple[str, Part], list[float]]
    peak_bytes: Mapping[str, int]
    no_peaks: str
    """Why memory could not be measured; empty where it was."""
    waits: list[float]
    """Seconds that a training of RGB waited for each batch."""
    workers: int
    """Other processes that loaded."""
    took: float

    def clips_per_second(self, network: str, part: Part, batch: int) -> Quartiles:
        return quartiles([batch / seconds for seconds in self.seconds[network, part]])

    def ratio(self, network: str, part: Part) -> Quartiles:
        """The time of a part over that of RGB, turn by turn."""
        return quartiles_over(self.seconds[network, part], self.seconds[RGB, part])

    def shares(self, network: str) -> tuple[Quartiles, Quartiles] | None:
        """The flow layer's forward and backward, of a training step; None without a layer."""
        if (network, "layer_both") not in self.seconds:
            return None
        steps, forward = self.seconds[network, "train"], self.seconds[network, "layer_forward"]
        both = zip(self.seconds[network, "layer_both"], forward, strict=True)
        backward = [max(all_of_it - first, 0.0) for all_of_it, first in both]
        return quartiles_over(forward, steps), quartiles_over(backward, steps)

    @property
    def added(self) -> Quartiles:
        """What the flow layer adds to a training step of RGB, as a part of it."""
        over = self.ratio(FLOW, "train")
        return Quartiles(over.low - 1, over.median - 1, over.high - 1, over.n)

    @property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(network for network, _ in self.seconds))


def run(
    setting: Setting, video_set: VideoSet, minutes: float, say: Callable[[str], None]
) -> Results:
    """Measure in about so many minutes, once the frames are in the cache."""
    torch.set_num_threads(setting.threads)
    say("the data set")
    data = ClipModule(video_set, setting.clip, ("rgb",), setting.batch, seed=0)
    data.prepare_data()
    begin = time.perf_counter()
    specs = specs_of(setting.profile, setting.clip)
    classes = len(video_set.classes)
    networks = {
        name: parts_of(spec, classes, setting.batch, setting.device) for name, spec in specs.items()
    }
    no_peaks = untrusted(setting.device)
    peaks = {}
    for name, parts in networks.items():
        parts["train"]()  # gradients and the optimiser's state are there from the first step on
        if not no_peaks:
            say(f"memory: {name}")
            peaks[name] = extra_bytes(parts["train"], setting.device)
    with freed_memory_kept():
        say("time, in turns")
        calls = {(name, part): call for name in networks for part, call in networks[name].items()}
        wait = partial(synchronise, setting.device)
        seconds = in_turns(calls, 60 * minutes * TIMING_SHARE, wait)
        say("the wait for data")
        loader = data.train_dataloader()
        step, share = networks[RGB]["train"], 60 * minutes * LOADING_SHARE
        waits = _waits(loader, step, setting.device, share)
    return Results(seconds, peaks, no_peaks, waits, loader.num_workers, time.perf_counter() - begin)


def _waits(
    loader: DataLoader[Sample], step: Call, device: torch.device, budget: float
) -> list[float]:
    """Seconds for which a training stands still for each batch: its loading, as far as it is not
    done in other processes beside the steps, and its way to the device."""
    waits: list[float] = []
    begin = time.perf_counter()
    batches = iter(loader)
    while len(waits) <= MOST_BATCHES:
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            break
        batch.inputs[0].to(device)
        synchronise(device)
        waits.append(time.perf_counter() - start)
        step()
        synchronise(device)
        if time.perf_counter() - begin > budget and len(waits) > 2:
            break
    return waits[1:]  # before the first one, the loader's processes are started
