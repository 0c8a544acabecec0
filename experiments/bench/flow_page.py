"""What the flow op's benchmark says: its tables, its sentences, its record and its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cells import BACKENDS, PASSES, Cell, Pass, where
from bench.opencv import SETTINGS
from bench.page import Page, shown, verdict
from bench.picture import COLOURS, LEGEND, open_frame, write_title
from bench.run import Results
from bench.timing import columns
from repflow_pl.quartiles import quartiles
from repflow_pl.report.page import bullets
from repflow_pl.report.paper import NOT_KNOWN
from repflow_pl.report.plot_style import DPI, FAINT, INK, WIDTH_INCHES, drawn
from repflow_pl.report.wording import bracketed, duration, grid, grid_of, significant

COMPARED = ("eager", "compile", "fused")
TITLES = {"eager": "eager", "compile": "torch.compile", "fused": "fused"}
STYLES: dict[Pass, Any] = {"forward": (0, (3, 2)), "forward + backward": "-"}


@dataclass(frozen=True)
class Aims:
    """What the fused backend is meant to reach at the headline's size."""

    forward: float | None
    both: float
    memory: float


AIMS = {"cpu": Aims(40, 25, 1 / 10), "cuda": Aims(None, 100, 1 / 20)}


def page_of(results: Results, device: torch.device, threads: int) -> Page:
    """The page of a run on a device."""
    plan, on_gpu = results.plan, device.type == "cuda"
    return Page(
        stem=f"flow_{device.type}",
        title=f"What the flow op costs: {device.type.upper()}",
        shows="Speed over the baseline by size and by iterations",
        small="tiny sizes",
        parts=[
            *([] if plan.quick else _headline(results, AIMS[device.type])),
            "Every figure is how many times as fast as the baseline a backend is, the median over "
            "n turns with the quartiles behind it. The baseline is the algorithm in the plain way "
            "of the authors' released layer: grouped convolutions, boolean masks, autograd. Over "
            "the floor: the fused backend's time over the least that this machine's bandwidth and "
            "peak allow.",
            f"## Sizes, at {plan.headline.n_iter} iterations",
            *_ratios(results, plan.sizes, on_gpu),
            f"## Iterations, at {plan.iterations[0]}",
            *_ratios(results, plan.iterations_in_order, on_gpu),
            "## OpenCV's TV-L1, a pair of frames",
            *_opencv(results),
            "## Memory beyond the inputs, MiB",
            *_memory(results),
        ],
        device=device,
        threads=threads,
        took=results.seconds,
        sentences=_measured(results, on_gpu),
        record=list(record_of(results)),
        picture=lambda suffix: drawn(lambda: _figure(results, device.type.upper() + suffix)),
    )


def record_of(results: Results) -> Iterator[dict[str, object]]:
    """A line for each cell, pass and backend, with seconds, ratios, floor and memory."""
    for timed in results.timed:
        cell = timed.cell
        floor = results.floor(timed)
        asked = {*timed.seconds, *timed.why} & set(SETTINGS)
        for backend in (*BACKENDS, *(SETTINGS if asked else ())):
            seconds = timed.seconds.get(backend, [])
            measured = results.measured(backend, cell, timed.which)
            yield {
                "features": where(cell),
                **cell.columns,
                "pass": timed.which,
                "backend": backend,
                **columns("seconds_", quartiles(seconds) if seconds else None),
                "n": len(seconds),
                **columns("ratio_", timed.ratio(backend)),
                "floor_bytes_seconds": f"{floor.bytes:.4g}",
                "floor_operations_seconds": f"{floor.operations:.4g}",
                "extra_bytes": measured and measured.extra_bytes,
                "not_measured": timed.why.get(backend),
            }


def _part(share: float) -> str:
    return f"1/{1 / share:.0f}"


def _headline(results: Results, aims: Aims) -> list[str]:
    """The fused backend at the headline's size, and whether it is where it is meant to be."""
    cell, lines = results.plan.headline, []
    for timed in results.of(cell):
        aim = aims.forward if timed.which == "forward" else aims.both
        ratio, share = timed.ratio("fused"), results.share(cell, timed.which)
        lines.append(
            [
                timed.which,
                shown(ratio, bracketed),
                shown(aim, "{:g}".format),
                verdict(None if ratio is None or aim is None else ratio.median >= aim),
                shown(share, _part),
                _part(aims.memory),
                verdict(None if share is None else share <= aims.memory),
                str(ratio.n if ratio else 0),
            ]
        )
    header = ["fused", "× baseline", "aim", "", "memory / baseline's", "aim", "", "n"]
    return [f"At {cell} float32, {cell.n_iter} iterations:", grid(header, lines)]


def _ratios(results: Results, cells: Sequence[Cell], named: bool) -> list[str]:
    """A line for each pass, the baseline's milliseconds only where a GPU is named; then a line for
    each reason for empty cells."""
    passes = [timed for cell in cells for timed in results.of(cell)]
    lines = []
    for timed in passes:
        floor = results.floor(timed)
        baseline = quartiles(timed.seconds["baseline"]) if timed.seconds else None
        line = {
            "features": where(timed.cell) or NOT_KNOWN,
            "tensor": str(timed.cell),
            "iterations": str(timed.cell.n_iter),
            "pass": timed.which,
        }
        if named:
            line["baseline, ms"] = shown(baseline, lambda spread: significant(1000 * spread.median))
        for backend in COMPARED:
            line[TITLES[backend]] = shown(timed.ratio(backend), bracketed)
        line["over the floor"] = shown(results.floor_ratio(timed), significant)
        line["set by"] = "bytes" if floor.bytes > floor.operations else "operations"
        lines.append(line | {"n": str(baseline.n if baseline else 0)})
    absent = [
        (backend, timed.why[backend])
        for timed in passes
        for backend in (*BACKENDS, *SETTINGS)
        if backend not in timed.seconds and backend in timed.why
    ]
    return [grid_of(lines, left=4), *_absences(absent)]


def _absences(reasons: Sequence[tuple[str, str]]) -> list[str]:
    """A list of why backends have no figures, each reason once; nothing where all have."""
    said = [f"not measured: {TITLES.get(backend, backend)}: {why}" for backend, why in reasons]
    return [bullets(dict.fromkeys(said))] if said else []


def _opencv(results: Results) -> list[str]:
    lines = []
    for timed in results.timed:
        fused = timed.seconds.get("fused")
        for setting in SETTINGS:
            ratio = timed.ratio(setting)
            if ratio is None:
                continue
            theirs = quartiles(timed.seconds[setting]).median * timed.cell.pairs
            over = theirs / quartiles(fused).median if fused else None
            lines.append(
                {
                    "RGB frames": f"{timed.cell.side} x {timed.cell.side}",
                    "setting": setting.removeprefix("OpenCV, "),
                    "OpenCV × baseline": bracketed(ratio),
                    "fused × OpenCV": shown(over, significant),
                    "n": str(ratio.n),
                }
            )
    if not lines:
        reasons = {timed.why[s] for timed in results.timed for s in SETTINGS if s in timed.why}
        return [f"Not measured: {'; '.join(sorted(reasons)) or 'no line of RGB frames was timed'}."]
    return [
        grid_of(lines, left=2),
        "OpenCV works on the CPU on one grey plane, over several scales and warps, and may stop "
        f"early; the flow op does {results.plan.headline.n_iter} iterations on one scale of three "
        "planes. The answers differ, and so does the work.",
    ]


def _memory(results: Results) -> list[str]:
    lines = []
    for cell in results.plan.for_memory:
        for which in PASSES:
            found: dict[str, int | None] = {}
            for backend in ("baseline", *COMPARED):
                measured = results.measured(backend, cell, which)
                found[TITLES.get(backend, backend)] = measured.extra_bytes if measured else None
            if any(extra is not None for extra in found.values()):
                lines.append(
                    {"tensor": str(cell), "iterations": str(cell.n_iter), "pass": which}
                    | {title: shown(extra, _mebibytes) for title, extra in found.items()}
                    | {"fused / baseline": shown(results.share(cell, which), _part)}
                )
    absent = [
        (backend, why)
        for backend, outcome in results.memory.items()
        for why in (outcome.why, *(measured.why for measured in outcome.measured))
        if why
    ]
    parts = [grid_of(lines, left=3)] if lines else []
    return [*parts, *_absences(absent)] or ["Nothing was measured."]


def _mebibytes(count: int) -> str:
    return "< 1" if count < 2**20 else f"{count / 2**20:.0f}"


def _measured(results: Results, on_gpu: bool) -> list[str]:
    counted = (
        "torch's count of GPU memory"
        if on_gpu
        else "the rise of the process's resident memory to its high-water mark, good to about 1 MiB"
    )
    sentences = [
        "Forward is without a graph. Forward + backward takes the gradients of both frames, the "
        "six kernels and the three scalars.",
        "The backends were timed in turns, after a warm-up; n is the number of turns. A fast "
        "call is repeated within its turn, after one that is not timed.",
        f"Memory, outputs and gradients included, is {counted}: one call in a fresh process for "
        "each backend, n = 1.",
        "The floor is the longer of two times: the frames read and the flows written once (with "
        "the backward: ten tensors in all), over the bandwidth of a large copy; and the "
        "operations of Alg. 1 (with the backward three times as many), over the peak of a large "
        "float32 matrix product, which no division or square root reaches. Both measured here.",
    ]
    if compiled := _first_calls(results):
        sentences.append(
            "First calls (forward + then with the backward), compilation included, with empty "
            f"caches, both backends at once: {'; '.join(compiled)}."
        )
    if not on_gpu:
        sentences.append(
            "Only ratios are given: a CPU's times say little about another's. The medians in "
            "seconds are in [flow_cpu.csv](flow_cpu.csv)."
        )
    return sentences


def _first_calls(results: Results) -> list[str]:
    """What compiling costs, once; it is in no other figure. The fused backend compiles once for all
    sizes; torch.compile for each."""
    parts = []
    for backend, most in (("fused", 1), ("compile", None)):
        cells = dict.fromkeys(measured.cell for measured in results.memory[backend].measured)
        for cell in list(cells)[:most]:
            found = [results.measured(backend, cell, which) for which in PASSES]
            at = "" if most else f" at n_iter {cell.n_iter}"
            took = " + ".join(duration(measured.first_seconds) for measured in found if measured)
            parts.append(f"{TITLES[backend]}{at} {took}")
    return parts


# --- the picture ---------------------------------------------------------------------------------


def _figure(results: Results, device: str) -> Figure:
    """Two panels; the dotted line is the floor, above which nothing can be."""
    plan = results.plan
    figure = Figure(figsize=(WIDTH_INCHES, 4.2), dpi=DPI)
    left, right = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.80, bottom=0.15, wspace=0.06)
    places = list(range(len(plan.sizes)))
    _panel(left, results, plan.sizes, places)
    left.set_xticks(places, [f"{'RGB ' * (c.channels == 3)}{c.side}" for c in plan.sizes])
    left.set_xlabel(f"side in pixels, at {plan.headline.n_iter} iterations", color=FAINT)
    left.set_ylabel("times as fast as the baseline", color=FAINT)
    counts = [cell.n_iter for cell in plan.iterations_in_order]
    right.set_xscale("log")
    _panel(right, results, plan.iterations_in_order, counts)
    right.set_xticks(counts, [str(count) for count in counts])
    right.minorticks_off()
    right.set_xlabel(f"iterations, at {plan.iterations[0]}", color=FAINT)
    title = f"The flow op's speed over the released way of writing it, {device}"
    write_title(figure, title, 0.955)
    # torch.compile may have a curve in one panel alone; each name once.
    curves = {
        name: curve
        for axis in (right, left)
        for curve, name in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        curves.values(),
        curves.keys(),
        ncols=4,
        bbox_to_anchor=(0.005, 0.945),
        handlelength=2.6,
        **LEGEND,
    )
    return figure


def _panel(axis: Axes, results: Results, cells: Sequence[Cell], places: Sequence[float]) -> None:
    axis.set_yscale("log")
    axis.axhline(1, color=INK, lw=1)
    at = dict(zip(cells, places, strict=True))
    for which in PASSES:
        passes = [t for cell in cells for t in results.of(cell) if t.which == which]
        for backend in COMPARED:
            points = [(at[t.cell], r) for t in passes if (r := t.ratio(backend)) is not None]
            if points:  # medians with quartiles
                axis.errorbar(
                    [place for place, _ in points],
                    [r.median for _, r in points],
                    [[r.median - r.low for _, r in points], [r.high - r.median for _, r in points]],
                    label=f"{TITLES[backend]}, {which}",
                    color=COLOURS[backend],
                    ls=STYLES[which],
                    marker="o",
                    ms=3.5,
                    lw=1.5,
                    capsize=2,
                    elinewidth=1,
                )
    floors = [  # of the last pass, with the backward
        (at[t.cell], quartiles(t.seconds["baseline"]).median / results.floor(t).seconds)
        for t in passes
        if "baseline" in t.seconds
    ]
    if floors:
        label = "floor, forward + backward"
        axis.plot(*zip(*floors, strict=True), color=INK, lw=1, ls=":", label=label)
    open_frame(axis)
    axis.grid(axis="y", color="#edf0f2", lw=0.8)
    axis.set_axisbelow(True)
