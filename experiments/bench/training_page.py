"""What the training benchmark says: its table, its sentences, its record and its picture."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.networks import FLOW, PARTS, RGB
from bench.page import Page, shown, verdict
from bench.picture import COLOURS, Bar, bars
from bench.timing import columns
from bench.training import Results, Setting
from repflow_pl.quartiles import Quartiles, quartiles
from repflow_pl.report.wording import bracketed, grid_of, percent

AIM = 0.10
"""What the flow layer may add to a training step of the plain network, on a GPU."""
LEGEND = {
    "the rest of the network": COLOURS["eager"],
    "flow layer, forward": COLOURS["compile"],
    "flow layer, backward": COLOURS["fused"],
}


def page_of(results: Results, setting: Setting) -> Page:
    """The page of a run at a setting."""
    frames, (height, width), device = setting.clip.frames, setting.clip.crop, setting.device
    return Page(
        stem=f"training_{device.type}",
        title=f"What training costs: {device.type.upper()}",
        shows="A training step of each network, and the flow layer's part of it",
        small="tiny sizes",
        parts=[
            f"{setting.profile.backbone}, {frames} x {height} x {width}, batch {setting.batch}, "
            "float32; medians with quartiles.",
            grid_of([_line(results, network, setting.batch) for network in results.networks]),
            added(results, device),
            _wait(results, setting.batch),
        ],
        device=device,
        threads=setting.threads,
        took=results.took,
        sentences=[
            f"{', '.join(PARTS)} of all networks were timed in turns, after a warm-up; n is the "
            "number of turns, and ratios and shares are taken within them. A training step is "
            "forward, loss, backward and the optimiser, on a batch that lies on the device.",
            "The flow layer's shares are its time alone, on features of its place's shape, over "
            f"that of the whole step of its network ({FLOW}, and Flow-Conv-Flow with two such "
            "layers).",
            "Data wait: what a training of the plain network stands still for each batch of "
            "motion_shapes, by the loader that every run uses.",
            f"Memory was not measured: {results.no_peaks}."
            if results.no_peaks
            else "Peak: of one training step, beyond weights, gradients and the optimiser's state.",
        ],
        record=list(record_of(results)),
        picture=lambda suffix: bars(
            [_bar(results, network) for network in results.networks],
            f"What the flow layer costs in training, {device.type.upper()}{suffix}",
            "milliseconds of a training step",
            2.6,
            legend=LEGEND,
        ),
    )


def added(results: Results, device: torch.device) -> str:
    """What the flow layer adds to a training step; on a GPU also whether that is little enough."""
    more = results.added
    spread = f"{percent(more.median)} % ({percent(more.low)}–{percent(more.high)}, n = {more.n})"
    said = f"The flow layer after block 3 adds {spread} to a training step of the plain network"
    if device.type == "cuda":
        said += f"; {percent(AIM)} % or less: {verdict(more.median <= AIM)}"
    return f"{said}."


def record_of(results: Results) -> Iterator[dict[str, object]]:
    """A line for each network and part, and one for the wait for data."""
    for (network, part), seconds in (*results.seconds.items(), (("", "wait"), results.waits)):
        found = quartiles(seconds)
        yield {
            "network": network,
            "part": part,
            **columns("seconds_", found),
            "n": found.n,
            "peak_bytes": results.peak_bytes.get(network) if part == "train" else None,
        }


def _line(results: Results, network: str, batch: int) -> dict[str, str]:
    forward, backward = results.shares(network) or (None, None)

    def percentage(share: Quartiles) -> str:
        return bracketed(share, percent)

    return {
        "network": network,
        "training, clips/s": bracketed(results.clips_per_second(network, "train", batch)),
        "× RGB's step": bracketed(results.ratio(network, "train")),
        "evaluation, clips/s": bracketed(results.clips_per_second(network, "evaluate", batch)),
        "flow forward, %": shown(forward, percentage),
        "flow backward, %": shown(backward, percentage),
        "peak, MiB": shown(results.peak_bytes.get(network), lambda peak: f"{peak / 2**20:.0f}"),
        "n": str(len(results.seconds[network, "train"])),
    }


def _wait(results: Results, batch: int) -> str:
    waits = quartiles([1000 * seconds for seconds in results.waits])
    rate = results.clips_per_second(RGB, "train", batch).median
    share = waits.median / (waits.median + 1000 * batch / rate)
    where = f"{results.workers} other processes" if results.workers else "the training's process"
    return (
        f"Data wait: {bracketed(waits)} ms a batch (n = {waits.n}), {percent(share)} % of "
        f"a plain network's step with its loading; loaded in {where}."
    )


def _bar(results: Results, network: str) -> Bar:
    step = quartiles([1000 * seconds for seconds in results.seconds[network, "train"]])
    layer = [share.median * step.median for share in results.shares(network) or ()]
    lengths = zip(LEGEND.values(), [step.median - sum(layer), *layer], strict=False)
    return Bar(network, list(lengths), step)
