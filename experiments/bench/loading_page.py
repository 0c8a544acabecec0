"""What the data benchmark says: its table, its sentences, its record and its picture."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.loading import STEP, STEP_CLIPS, Case, Feed, Plan, Results
from bench.page import Page, verdict
from bench.picture import COLOURS, Bar, bars
from bench.timing import columns
from repflow_pl.quartiles import quartiles
from repflow_pl.report.paper import NOT_KNOWN
from repflow_pl.report.wording import bracketed, grid_of

AIM, CACHE_AIM = 0.85, 5.0
"""What the loader is meant to reach of decord alone, and the cache of decoding."""
WAIT_AIM = 0.05
"""Part of the time for which a device is to wait at most."""


def page_of(results: Results, plan: Plan, data: str) -> Page:
    """The page of a run on a data set."""
    height, width = plan.clip.crop
    return Page(
        stem=f"data_{data}",
        title=f"How fast clips are loaded: {data}",
        shows="The loader's speed over that of decord alone",
        small="few clips",
        parts=[
            f"Training clips of {height} x {width} pixels; clips per second, medians with "
            "quartiles. Over decord: the loader's rate (decoded, resized, cropped, made a batch "
            "of, brought to the training's process) over that of decord alone, which opens the "
            "same files and decodes the same frames in as many processes, and does nothing else. "
            "MiB: most memory of the workers and of the processes that decode for them.",
            grid_of([_line(results, case) for case in results.loader]),
            f"The aim is {AIM} of decord alone.",
            _cache(results),
            *_waits(results, plan),
        ],
        device=torch.device("cpu"),
        threads=None,
        took=results.took,
        sentences=[
            f"{plan.turns} turns; in each, decord alone and the loader with every decoder, one "
            f"after the other, on {plan.clips} clips in batches of {plan.batch}. Ratios are taken "
            "within a turn. The loader counts while all its workers are under way. The files lie "
            "in the system's cache after the first turn."
        ],
        record=list(record_of(results)),
        picture=lambda suffix: bars(
            [_bar(results, case) for case in results.loader],
            f"The loader's speed, {data}{suffix}",
            f"part of decord alone; dashed: {AIM}",
            1.3 + 0.42 * len(results.loader),
            aim=AIM,
        ),
    )


def record_of(results: Results) -> Iterator[dict[str, object]]:
    """A line for each case, for decord alone, and for an epoch with and without the cache."""
    lines = [
        *(("decord alone", "decord", *at, rates) for at, rates in results.decord.items()),
        *(("loader", c.decoder, c.frames, c.workers, r) for c, r in results.loader.items()),
        ("epoch, decoded", None, None, 0, results.decoded),
        ("epoch, cached", None, None, 0, results.cached),
        *(
            (f"waits, {_source(feed)}", None, None, feed.workers, shares)
            for feed, shares in results.waits.items()
        ),
    ]
    for what, decoder, frames, workers, rates in lines:
        if rates:
            found = quartiles(rates)
            yield {
                "what": what,
                "decoder": decoder,
                "frames": frames,
                "workers": workers,
                **columns("", found),
                "n": found.n,
            }
    for case, taken in results.memory.items():
        yield {
            "what": "bytes",
            "decoder": case.decoder,
            "frames": case.frames,
            "workers": case.workers,
            "median": taken,
        }


def _line(results: Results, case: Case) -> dict[str, str]:
    part = results.of_floor(case)
    return {
        "decoder": case.decoder,
        "frames": str(case.frames),
        "workers": str(case.workers),
        "loader": bracketed(quartiles(results.loader[case])),
        "decord alone": bracketed(quartiles(results.decord[case.frames, case.workers])),
        "over decord": f"{bracketed(part)}, {verdict(part.median >= AIM)}",
        "MiB": str(round(results.memory[case] / 2**20)) if results.memory.get(case) else NOT_KNOWN,
        "n": str(part.n),
    }


def _cache(results: Results) -> str:
    speedup = results.speedup()
    if speedup is None:
        return "The set is too large for the memory-mapped cache: every epoch decodes."
    decoded, cached = (bracketed(quartiles(rates)) for rates in (results.decoded, results.cached))
    return (
        f"An epoch at the set's own size in one process: {decoded} clips per second decoded, "
        f"{cached} from the memory-mapped cache, {bracketed(speedup)} times as many "
        f"(n = {speedup.n}); {CACHE_AIM:g} times or more: {verdict(speedup.median >= CACHE_AIM)}."
    )


def _waits(results: Results, plan: Plan) -> list[str]:
    """What a pretended device waits; nothing where that was not measured."""
    if not results.waits:
        return []
    return [
        f"A pretended device that is busy {1000 * STEP:g} ms with each batch of {STEP_CLIPS} clips "
        f"of {plan.frames[0]} frames, {STEP_CLIPS / STEP:g} a second, stands still for this part "
        f"of the time; {100 * WAIT_AIM:g} % or less is the aim:",
        grid_of(
            [
                {
                    "frames are": _source(feed),
                    "workers": str(feed.workers),
                    "waits, %": f"{bracketed(found)}, {verdict(found.median <= 100 * WAIT_AIM)}",
                    "n": str(found.n),
                }
                for feed, shares in results.waits.items()
                for found in [quartiles([100 * share for share in shares])]
            ]
        ),
    ]


def _source(feed: Feed) -> str:
    return "kept" if feed.kept else "decoded"


def _bar(results: Results, case: Case) -> Bar:
    workers = f"{case.workers} worker{'s' * (case.workers > 1)}"
    part = results.of_floor(case)
    colour = COLOURS["fused" if case.decoder == "decord" else "compile"]
    name = f"{case.decoder}, {case.frames} frames, {workers}"
    return Bar(name, [(colour, part.median)], part)
