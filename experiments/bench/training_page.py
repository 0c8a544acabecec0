"""The training benchmark's results as Markdown, as CSV and as a picture."""

from __future__ import annotations

import csv
import datetime
import io
import platform
from dataclasses import dataclass

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.networks import FLOW
from bench.page import NOT_MEASURED, device_name
from bench.picture import COLOURS, FAINT, FONT, INK
from bench.timing import Quartiles, quartiles
from bench.training import PARTS, Results, Setting
from repflow_pl.report.wording import duration, grid, percent, significant

AIM = 0.10
"""What the flow layer may add to a training step of the plain network, on a GPU."""
_COLUMNS = ("network", "part", "seconds_median", "seconds_q25", "seconds_q75", "n", "peak_bytes")


@dataclass(frozen=True)
class Context:
    """What the page says beside the figures."""

    setting: Setting
    workers: int
    command: str
    quick: bool


def markdown_of(results: Results, context: Context) -> str:
    """The whole page. What stands before its first `##` can be shown alone."""
    setting = context.setting
    frames, (height, width) = setting.clip.frames, setting.clip.crop
    stem = f"training_{setting.device.type}"
    quick = ["**A quick run on tiny sizes: the figures mean nothing.**"] if context.quick else []
    return "\n\n".join(
        [
            f"# What training costs: {setting.device.type.upper()}",
            f"![A training step of each network, and the flow layer's part of it]({stem}.png)",
            *quick,
            f"{setting.profile.backbone}, {frames} x {height} x {width}, batch {setting.batch}, "
            "float32; medians with quartiles.",
            _table(results, setting),
            added(results, setting.device),
            _wait(results, context),
            "## How it was measured",
            "\n".join(f"- {sentence}" for sentence in _measured(results, context)),
        ]
    ) + "\n"  # fmt: skip


def added(results: Results, device: torch.device) -> str:
    """What the flow layer adds to a training step; on a GPU also whether that is little enough."""
    more = results.added
    spread = f"{percent(more.median)} % ({percent(more.low)}–{percent(more.high)}, n = {more.n})"
    said = f"The flow layer after block 3 adds {spread} to a training step of the plain network"
    if device.type != "cuda":
        return f"{said}."
    return f"{said}; {percent(AIM)} % or less: {'reached' if more.median <= AIM else 'missed'}."


def csv_of(results: Results) -> str:
    """A line for each network and part, and one for the wait for data."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for (network, part), seconds in results.seconds.items():
        peak = results.peak_bytes.get(network, "") if part == "train" else ""
        writer.writerow([network, part, *_numbers(quartiles(seconds)), len(seconds), peak])
    waits = results.waits
    writer.writerow(["", "wait", *_numbers(quartiles(waits)), len(waits), ""])
    return stream.getvalue()


def picture_of(results: Results, context: Context) -> bytes:
    """A PNG: a bar for each network, what of it is the flow layer's forward and backward."""
    networks = list(dict.fromkeys(network for network, _ in results.seconds))
    with rc_context(FONT):
        figure = Figure(figsize=(9.0, 2.6), dpi=200)
        axis = figure.subplots()
        figure.subplots_adjust(left=0.26, right=0.985, top=0.78, bottom=0.2)
        for place, network in enumerate(networks):
            step = quartiles(results.seconds[network, "train"])
            forward, backward = _flow_seconds(results, network)
            rest = step.median - forward - backward
            bars = ((rest, "eager"), (forward, "compile"), (backward, "fused"))
            left = 0.0
            for width, colour in bars:
                axis.barh(place, 1000 * width, left=1000 * left, color=COLOURS[colour], height=0.6)
                left += width
            low, high = step.median - step.low, step.high - step.median
            errors = [[1000 * low], [1000 * high]]
            axis.errorbar(1000 * step.median, place, xerr=errors, color=INK, capsize=2, lw=1)
        for name, colour in (
            ("the rest of the network", "eager"),
            ("flow layer, forward", "compile"),
            ("flow layer, backward", "fused"),
        ):
            axis.barh(0, 0, color=COLOURS[colour], label=name)
        axis.set_yticks(range(len(networks)), networks)
        axis.invert_yaxis()
        axis.set_xlabel("milliseconds of a training step", color=FAINT)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        axis.tick_params(colors=FAINT, labelsize=9)
        title = f"What the flow layer costs in training, {context.setting.device.type.upper()}"
        figure.text(0.012, 0.92, title + " (quick run)" * context.quick, weight="bold", size=12)
        figure.legend(ncols=3, loc="upper left", frameon=False, fontsize=8,
                      bbox_to_anchor=(0.005, 0.9))  # fmt: skip
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _flow_seconds(results: Results, network: str) -> tuple[float, float]:
    shares = results.shares(network)
    if shares is None:
        return 0.0, 0.0
    step = quartiles(results.seconds[network, "train"]).median
    return shares[0].median * step, shares[1].median * step


def _table(results: Results, setting: Setting) -> str:
    header = ["network", "training, clips/s", "× RGB's step", "evaluation, clips/s"]
    header += ["flow forward, %", "flow backward, %", "peak, MiB", "n"]
    lines = []
    for network in dict.fromkeys(network for network, _ in results.seconds):
        shares = results.shares(network)
        peak = results.peak_bytes.get(network)
        lines.append(
            [
                network,
                _spread(results.clips_per_second(network, "train", setting.batch)),
                _spread(results.ratio(network, "train")),
                _spread(results.clips_per_second(network, "evaluate", setting.batch)),
                *([NOT_MEASURED] * 2 if shares is None else map(_percentage, shares)),
                NOT_MEASURED if peak is None else f"{peak / 2**20:.0f}",
                str(len(results.seconds[network, "train"])),
            ]
        )
    return grid(header, lines)


def _wait(results: Results, context: Context) -> str:
    waits = quartiles([1000 * seconds for seconds in results.waits])
    rate = results.clips_per_second("RGB", "train", context.setting.batch).median
    share = waits.median / (waits.median + 1000 * context.setting.batch / rate)
    where = f"{context.workers} other processes" if context.workers else "the training's process"
    return (
        f"Data wait: {_spread(waits)} ms a batch (n = {waits.n}), {percent(share)} % of "
        f"a plain network's step with its loading; loaded in {where}."
    )


def _measured(results: Results, context: Context) -> list[str]:
    setting = context.setting
    memory = (
        f"Memory was not measured: {results.no_peaks}."
        if results.no_peaks
        else "Peak: of one training step, beyond weights, gradients and the optimiser's state."
    )
    return [
        f"Made by `{context.command}` on {datetime.date.today().isoformat()}, "
        f"in {duration(results.took)}.",
        f"Device: {device_name(setting.device)}; CPU threads: {setting.threads}; "
        f"torch {torch.__version__}, Python {platform.python_version()}.",
        f"{', '.join(PARTS)} of all networks were timed in turns, after a warm-up; n is the number "
        "of turns, and ratios and shares are taken within them. A training step is forward, loss, "
        "backward and the optimiser, on a batch that lies on the device.",
        "The flow layer's shares are its time alone, on features of its place's shape, over that "
        f"of the whole step of its network ({FLOW}, and Flow-Conv-Flow with two such layers).",
        "Data wait: what a training of the plain network stands still for each batch of "
        "motion_shapes, by the loader that every run uses.",
        memory,
    ]


def _percentage(share: Quartiles) -> str:
    return f"{percent(share.median)} ({percent(share.low)}–{percent(share.high)})"


def _spread(spread: Quartiles) -> str:
    return f"{significant(spread.median)} ({significant(spread.low)}–{significant(spread.high)})"


def _numbers(spread: Quartiles) -> list[str]:
    return [f"{value:.5g}" for value in (spread.median, spread.low, spread.high)]
