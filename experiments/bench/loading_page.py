"""The data benchmark's results as Markdown, as CSV and as a picture."""

from __future__ import annotations

import csv
import datetime
import io
import platform
from dataclasses import dataclass

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.loading import Case, Plan, Results
from bench.page import device_name
from bench.picture import COLOURS, FAINT, FONT, INK
from bench.timing import Quartiles, quartiles
from repflow_pl.report.wording import duration, grid, significant

AIM, CACHE_AIM = 0.85, 5.0
"""What the loader is meant to reach of decord alone, and the cache of decoding."""
_COLUMNS = ("what", "decoder", "frames", "workers", "median", "q25", "q75", "n")


@dataclass(frozen=True)
class Context:
    """What the page says beside the figures."""

    data: str
    plan: Plan
    command: str
    quick: bool


def markdown_of(results: Results, context: Context) -> str:
    """The whole page. What stands before its first `##` can be shown alone."""
    quick = ["**A quick run on few clips: the figures mean nothing.**"] if context.quick else []
    height, width = context.plan.clip.crop
    return "\n\n".join(
        [
            f"# How fast clips are loaded: {context.data}",
            f"![The loader's speed over that of decord alone](data_{context.data}.png)",
            *quick,
            f"Training clips of {height} x {width} pixels; clips per second, medians with "
            "quartiles. Over decord: the loader's rate (decoded, resized, cropped, made a batch "
            "of, brought to the training's process) over that of decord alone, which opens the "
            "same files and decodes the same frames in as many processes, and does nothing else.",
            _table(results),
            *_cache(results),
            "## How it was measured",
            "\n".join(f"- {sentence}" for sentence in _measured(results, context)),
        ]
    ) + "\n"  # fmt: skip


def csv_of(results: Results) -> str:
    """A line for each case, for decord alone, and for an epoch with and without the cache."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for (frames, processes), rates in results.decord.items():
        writer.writerow(["decord alone", "decord", frames, processes, *_numbers(rates)])
    for case, rates in results.loader.items():
        writer.writerow(["loader", case.decoder, case.frames, case.workers, *_numbers(rates)])
    for name, rates in (("decoded", results.decoded), ("cached", results.cached)):
        if rates:
            writer.writerow([f"epoch, {name}", "", "", 0, *_numbers(rates)])
    return stream.getvalue()


def picture_of(results: Results, context: Context) -> bytes:
    """A PNG: a bar for each case, as a part of decord alone."""
    with rc_context(FONT):
        figure = Figure(figsize=(9.0, 1.3 + 0.42 * len(results.loader)), dpi=200)
        axis = figure.subplots()
        figure.subplots_adjust(left=0.26, right=0.985, top=1 - 0.55 / figure.get_figheight(),
                               bottom=0.55 / figure.get_figheight())  # fmt: skip
        for place, case in enumerate(results.loader):
            part = results.of_floor(case)
            colour = COLOURS["fused" if case.decoder == "decord" else "compile"]
            axis.barh(place, part.median, color=colour, height=0.6)
            errors = [[part.median - part.low], [part.high - part.median]]
            axis.errorbar(part.median, place, xerr=errors, color=INK, capsize=2, lw=1)
        axis.axvline(AIM, color=INK, lw=1, ls=(0, (3, 2)))
        axis.set_yticks(range(len(results.loader)), [_name(case) for case in results.loader])
        axis.invert_yaxis()
        axis.set_xlabel(f"part of decord alone; dashed: {AIM}", color=FAINT)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        axis.tick_params(colors=FAINT, labelsize=9)
        title = f"The loader's speed, {context.data}" + " (quick run)" * context.quick
        height = 1 - 0.35 / figure.get_figheight()
        figure.text(0.012, height, title, weight="bold", size=12)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _table(results: Results) -> str:
    header = ["decoder", "frames", "workers", "loader", "decord alone", "over decord", "n"]
    lines = []
    for case, rates in results.loader.items():
        part = results.of_floor(case)
        alone = quartiles(results.decord[case.frames, case.workers])
        reached = f"{_spread(part)}, {'reached' if part.median >= AIM else 'missed'}"
        sizes = [str(case.frames), str(case.workers)]
        lines.append(
            [case.decoder, *sizes, _spread(quartiles(rates)), _spread(alone), reached, str(part.n)]
        )
    return f"{grid(header, lines)}\n\nThe aim is {AIM} of decord alone."


def _cache(results: Results) -> list[str]:
    speedup = results.speedup()
    if speedup is None:
        return ["The set is too large for the memory-mapped cache: every epoch decodes."]
    rates = [_spread(quartiles(found)) for found in (results.decoded, results.cached)]
    return [
        f"An epoch at the set's own size in one process: {rates[0]} clips per second decoded, "
        f"{rates[1]} from the memory-mapped cache, {_spread(speedup)} times as many "
        f"(n = {speedup.n}); {CACHE_AIM:g} times or more: "
        f"{'reached' if speedup.median >= CACHE_AIM else 'missed'}."
    ]


def _measured(results: Results, context: Context) -> list[str]:
    plan = context.plan
    return [
        f"Made by `{context.command}` on {datetime.date.today().isoformat()}, "
        f"in {duration(results.took)}.",
        f"Device: {device_name(torch.device('cpu'))}; torch {torch.__version__}, "
        f"Python {platform.python_version()}.",
        f"{plan.turns} turns; in each, decord alone and the loader with every decoder, one after "
        f"the other, on {plan.clips} clips in batches of {plan.batch}. Ratios are taken within a "
        "turn. The loader counts while all its workers are under way. The files lie in the "
        "system's cache after the first turn.",
    ]


def _name(case: Case) -> str:
    workers = f"{case.workers} worker{'s' * (case.workers > 1)}"
    return f"{case.decoder}, {case.frames} frames, {workers}"


def _spread(spread: Quartiles) -> str:
    return f"{significant(spread.median)} ({significant(spread.low)}–{significant(spread.high)})"


def _numbers(rates: list[float]) -> list[str]:
    found = quartiles(rates)
    return [f"{value:.5g}" for value in (found.median, found.low, found.high)] + [str(found.n)]
