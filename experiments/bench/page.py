"""The benchmark's results as Markdown and as CSV."""

from __future__ import annotations

import csv
import datetime
import io
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.cells import BACKENDS, PASSES, Cell, Pass, where
from bench.floor import floor_of
from bench.opencv import SETTINGS
from bench.run import Results
from bench.timing import Quartiles, quartiles
from repflow_pl.report.wording import duration, grid, significant

NOT_MEASURED = "–"
COMPARED = ("eager", "compile", "fused")
_COLUMNS = (
    *("features", "pairs", "channels", "height", "width", "n_iter", "pass", "backend"),
    *("seconds_median", "seconds_q25", "seconds_q75", "n"),
    *("ratio_median", "ratio_q25", "ratio_q75"),
    *("floor_bytes_seconds", "floor_operations_seconds", "extra_bytes", "not_measured"),
)
TITLES = {"eager": "eager", "compile": "torch.compile", "fused": "fused"}


@dataclass(frozen=True)
class Aims:
    """What the fused backend is meant to reach at the headline's size."""

    forward: float | None
    both: float
    memory: float


AIMS = {"cpu": Aims(40, 25, 1 / 10), "cuda": Aims(None, 100, 1 / 20)}


@dataclass(frozen=True)
class Context:
    """What the page says beside the figures."""

    device: torch.device
    threads: int
    command: str
    quick: bool


def markdown_of(results: Results, context: Context) -> str:
    """The whole page. What stands before its first `##` can be shown alone."""
    stem = f"flow_{context.device.type}"
    plan = results.plan
    parts = [
        f"# What the flow op costs: {context.device.type.upper()}",
        f"![Speed over the baseline by size and by iterations]({stem}.png)",
        *_headline(results, context),
        "Every figure is how many times as fast as the baseline a backend is, the median over n "
        "turns with the quartiles behind it. The baseline is the algorithm in the plain way of the "
        "authors' released layer: grouped convolutions, boolean masks, autograd. Over the floor: "
        "the fused backend's time over the least that this machine's bandwidth and peak allow.",
        f"## Sizes, at {plan.headline.n_iter} iterations",
        _ratios(results, plan.sizes, context),
        *_absences(results, plan.sizes),
        f"## Iterations, at {plan.iterations[0]}",
        _ratios(results, plan.iterations_in_order, context),
        *_absences(results, plan.iterations),
        "## OpenCV's TV-L1, a pair of frames",
        *_opencv(results),
        "## Memory beyond the inputs, MiB",
        *_memory(results),
        "## How it was measured",
        "\n".join(f"- {sentence}" for sentence in _measured(results, context)),
    ]
    return "\n\n".join(parts) + "\n"


def csv_of(results: Results) -> str:
    """A line for each cell, pass and backend, with seconds, ratios, floor and memory."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for timed in results.timed:
        cell = timed.cell
        floor = floor_of(cell, timed.which, results.peaks)
        for backend in (*BACKENDS, *SETTINGS):
            if backend in SETTINGS and not {*timed.seconds, *timed.why} & set(SETTINGS):
                continue
            seconds, ratio = timed.seconds.get(backend), timed.ratio(backend)
            found = None if backend in SETTINGS else results.measured(backend, cell, timed.which)
            writer.writerow(
                [
                    *(where(cell), cell.pairs, cell.channels, cell.side, cell.side, cell.n_iter),
                    *(timed.which, backend),
                    *(_numbers(quartiles(seconds)) if seconds else [""] * 3),
                    len(seconds or ()),
                    *(_numbers(ratio) if ratio else [""] * 3),
                    *(f"{floor.bytes:.4g}", f"{floor.operations:.4g}"),
                    "" if found is None or found.extra_bytes is None else found.extra_bytes,
                    timed.why.get(backend, ""),
                ]
            )
    return stream.getvalue()


def _numbers(spread: Quartiles) -> list[str]:
    return [f"{value:.5g}" for value in (spread.median, spread.low, spread.high)]


def _spread(spread: Quartiles | None) -> str:
    if spread is None:
        return NOT_MEASURED
    low, high = significant(spread.low), significant(spread.high)
    return f"{significant(spread.median)} ({low}–{high})"


def _headline(results: Results, context: Context) -> list[str]:
    """The fused backend at the headline's size, and whether it is where it is meant to be."""
    if context.quick:
        return ["**A quick run on tiny sizes: the figures mean nothing.**"]
    cell = results.plan.headline
    aims = AIMS[context.device.type]
    lines = []
    for timed in results.of(cell):
        aim = aims.forward if timed.which == "forward" else aims.both
        ratio = timed.ratio("fused")
        share = _share(results, cell, timed.which)
        lines.append(
            [
                timed.which,
                _spread(ratio),
                NOT_MEASURED if aim is None else f"{aim:g}",
                _met(None if ratio is None or aim is None else ratio.median >= aim),
                NOT_MEASURED if share is None else f"1/{1 / share:.0f}",
                f"1/{1 / aims.memory:.0f}",
                _met(None if share is None else share <= aims.memory),
                str(ratio.n if ratio else 0),
            ]
        )
    header = ["fused", "× baseline", "aim", "", "memory / baseline's", "aim", "", "n"]
    return [f"At {cell} float32, {cell.n_iter} iterations:", grid(header, lines)]


def _met(met: bool | None) -> str:
    return "" if met is None else "reached" if met else "missed"


def _share(results: Results, cell: Cell, which: Pass) -> float | None:
    fused, baseline = (results.measured(b, cell, which) for b in ("fused", "baseline"))
    if not fused or not baseline or not fused.extra_bytes or not baseline.extra_bytes:
        return None
    return fused.extra_bytes / baseline.extra_bytes


def _ratios(results: Results, cells: Sequence[Cell], context: Context) -> str:
    """Lines of ratios; the baseline's milliseconds only where a GPU is named."""
    named = context.device.type == "cuda"
    header = ["features", "tensor", "iterations", "pass"]
    header += ["baseline, ms"] if named else []
    header += [*(TITLES[b] for b in COMPARED), "over the floor", "set by", "n"]
    lines = []
    for timed in (timed for cell in cells for timed in results.of(cell)):
        cell, seconds = timed.cell, timed.seconds.get("baseline")
        floor = floor_of(cell, timed.which, results.peaks)
        over = results.floor_ratio(timed)
        lines.append(
            [
                *(where(cell) or NOT_MEASURED, str(cell), str(cell.n_iter), timed.which),
                *(_milliseconds(seconds) if named else ()),
                *(_spread(timed.ratio(backend)) for backend in COMPARED),
                NOT_MEASURED if over is None else significant(over),
                "bytes" if floor.bytes > floor.operations else "operations",
                str(len(seconds or ())),
            ]
        )
    return grid(header, lines, left=4)


def _milliseconds(seconds: list[float] | None) -> list[str]:
    return [significant(1000 * quartiles(seconds).median) if seconds else NOT_MEASURED]


def _absences(results: Results, cells: Sequence[Cell]) -> list[str]:
    """One line a reason for empty cells."""
    lines: dict[str, None] = {}
    for timed in (timed for cell in cells for timed in results.of(cell)):
        for backend in (*BACKENDS, *SETTINGS):
            if backend not in timed.seconds and backend in timed.why:
                lines[f"- not measured: {TITLES.get(backend, backend)}: {timed.why[backend]}"] = (
                    None
                )
    return ["\n".join(lines)] if lines else []


def _opencv(results: Results) -> list[str]:
    lines = []
    for timed in results.timed:
        fused = timed.seconds.get("fused")
        for setting in SETTINGS:
            ratio = timed.ratio(setting)
            if ratio is None:
                continue
            theirs = quartiles(timed.seconds[setting]).median
            over = theirs * timed.cell.pairs / quartiles(fused).median if fused else None
            lines.append(
                [
                    f"{timed.cell.side} x {timed.cell.side}",
                    setting.removeprefix("OpenCV, "),
                    _spread(ratio),
                    NOT_MEASURED if over is None else significant(over),
                    str(ratio.n),
                ]
            )
    if not lines:
        reasons = {timed.why[s] for timed in results.timed for s in SETTINGS if s in timed.why}
        return [f"Not measured: {'; '.join(sorted(reasons)) or 'no line of RGB frames was timed'}."]
    header = ["RGB frames", "setting", "OpenCV × baseline", "fused × OpenCV", "n"]
    return [
        grid(header, lines, left=2),
        "OpenCV works on the CPU on one grey plane, over several scales and warps, and may stop "
        f"early; the flow op does {results.plan.headline.n_iter} iterations on one scale of three "
        "planes. The answers differ, and so does the work.",
    ]


def _memory(results: Results) -> list[str]:
    lines = []
    for cell in results.plan.for_memory:
        for which in PASSES:
            found = [results.measured(b, cell, which) for b in ("baseline", *COMPARED)]
            if all(m is None or m.extra_bytes is None for m in found):
                continue
            share = _share(results, cell, which)
            lines.append(
                [
                    *(str(cell), str(cell.n_iter), which),
                    *(_mebibytes(m.extra_bytes if m else None) for m in found),
                    NOT_MEASURED if share is None else f"1/{1 / share:.0f}",
                ]
            )
    header = ["tensor", "iterations", "pass", "baseline", *(TITLES[b] for b in COMPARED)]
    parts = [grid([*header, "fused / baseline"], lines, left=3)] if lines else []
    reasons: Iterable[str] = dict.fromkeys(
        f"- not measured: {TITLES.get(backend, backend)}: {why}"
        for backend, outcome in results.memory.items()
        for why in (outcome.why, *(m.why for m in outcome.measured))
        if why
    )
    return [*parts, *(["\n".join(reasons)] if reasons else [])] or ["Nothing was measured."]


def _mebibytes(count: int | None) -> str:
    if count is None:
        return NOT_MEASURED
    return "< 1" if count < 2**20 else f"{count / 2**20:.0f}"


def _measured(results: Results, context: Context) -> list[str]:
    on_gpu = context.device.type == "cuda"
    counted = (
        "torch's count of GPU memory"
        if on_gpu
        else "the rise of the process's resident memory to its high-water mark, good to about 1 MiB"
    )
    sentences = [
        f"Made by `{context.command}` on {datetime.date.today().isoformat()}, "
        f"in {duration(results.seconds)}.",
        f"Device: {device_name(context.device)}; CPU threads: {context.threads}; "
        f"torch {torch.__version__}, Python {platform.python_version()}.",
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
        *_first_calls(results),
    ]
    if not on_gpu:
        sentences.append(
            "Only ratios are given: a CPU's times say little about another's. The medians in "
            f"seconds are in [flow_{context.device.type}.csv](flow_{context.device.type}.csv)."
        )
    return sentences


def _first_calls(results: Results) -> list[str]:
    """What compiling costs, once; it is in no other figure."""
    parts = []
    for backend in ("fused", "compile"):
        cells = dict.fromkeys(m.cell for m in results.memory[backend].measured)
        # The fused backend compiles once for all sizes; torch.compile for each.
        for cell in list(cells) if backend == "compile" else list(cells)[:1]:
            found = [results.measured(backend, cell, which) for which in PASSES]
            seconds = [duration(m.first_seconds) for m in found if m]
            name = f"{TITLES[backend]} at n_iter {cell.n_iter}"
            parts.append(f"{name if backend == 'compile' else 'fused'} {' + '.join(seconds)}")
    if not parts:
        return []
    return [
        "First calls (forward + then with the backward), compilation included, with empty "
        f"caches, both backends at once: {'; '.join(parts)}."
    ]


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's where the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return f"CPU ({line.split(':', 1)[1].strip()})"
    return f"CPU ({platform.processor() or platform.machine()})"
