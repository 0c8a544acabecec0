"""The benchmark as a picture: speed over the baseline, by size and by iterations."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cells import PASSES, Cell, Pass
from bench.floor import floor_of
from bench.page import COMPARED, TITLES, Context
from bench.run import Results
from bench.timing import quartiles

#: Of the tables' other pictures.
COLOURS = {"fused": "#c4512d", "eager": "#76828c", "compile": "#3d6f94"}
INK, FAINT = "#22292f", "#76828c"
STYLES: dict[Pass, Any] = {"forward": (0, (3, 2)), "forward + backward": "-"}
FONT: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK}


def picture_of(results: Results, context: Context) -> bytes:
    """A PNG of two panels; the dotted line is the floor, above which nothing can be."""
    plan = results.plan
    with rc_context(FONT):
        figure = Figure(figsize=(9.0, 4.2), dpi=200)
        left, right = figure.subplots(1, 2, sharey=True)
        figure.subplots_adjust(left=0.08, right=0.985, top=0.80, bottom=0.15, wspace=0.06)
        places = list(range(len(plan.sizes)))
        _panel(left, results, plan.sizes, places)
        names = [f"{'RGB ' if c.channels == 3 else ''}{c.side}" for c in plan.sizes]
        left.set_xticks(places, names)
        left.set_xlabel(f"side in pixels, at {plan.headline.n_iter} iterations", color=FAINT)
        left.set_ylabel("times as fast as the baseline", color=FAINT)
        counts = [cell.n_iter for cell in plan.iterations_in_order]
        right.set_xscale("log")
        _panel(right, results, plan.iterations_in_order, counts)
        right.set_xticks(counts, [str(count) for count in counts])
        right.minorticks_off()
        right.set_xlabel(f"iterations, at {plan.iterations[0]}", color=FAINT)
        device = context.device.type.upper()
        title = f"The flow op's speed over the released way of writing it, {device}"
        figure.text(0.012, 0.955, title + (" (quick run)" * context.quick), weight="bold", size=12)
        handles, labels = left.get_legend_handles_labels()
        others = right.get_legend_handles_labels()
        shown = {
            **dict(zip(others[1], others[0], strict=True)),
            **dict(zip(labels, handles, strict=True)),
        }
        figure.legend(
            shown.values(),
            shown.keys(),
            ncols=4,
            loc="upper left",
            frameon=False,
            fontsize=8,
            bbox_to_anchor=(0.005, 0.945),
            handlelength=2.6,
        )
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _panel(axis: Axes, results: Results, cells: Sequence[Cell], places: Sequence[float]) -> None:
    axis.set_yscale("log")
    axis.axhline(1, color=INK, lw=1)
    for which in PASSES:
        for backend in COMPARED:

            def ratio(cell: Cell, backend: str = backend, which: Pass = which) -> Any:
                found = [t.ratio(backend) for t in results.of(cell) if t.which == which]
                return found[0] if found else None

            _curve(
                axis,
                cells,
                places,
                ratio,
                f"{TITLES[backend]}, {which}",
                color=COLOURS[backend],
                ls=STYLES[which],
                marker="o",
                ms=3.5,
                lw=1.5,
            )
    floors = []
    for cell, place in zip(cells, places, strict=True):
        for timed in results.of(cell):
            if timed.which == "forward + backward" and "baseline" in timed.seconds:
                baseline = quartiles(timed.seconds["baseline"]).median
                floors.append(
                    (place, baseline / floor_of(cell, timed.which, results.peaks).seconds)
                )
    if floors:
        axis.plot(
            *zip(*floors, strict=True), color=INK, lw=1, ls=":", label="floor, forward + backward"
        )
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(colors=FAINT, labelsize=9)
    axis.grid(axis="y", color="#edf0f2", lw=0.8)
    axis.set_axisbelow(True)


def _curve(
    axis: Axes,
    cells: Sequence[Cell],
    places: Sequence[float],
    ratio: Callable[[Cell], Any],
    label: str,
    **style: Any,
) -> None:
    """Medians with quartiles, where there are any."""
    found = [(place, ratio(cell)) for cell, place in zip(cells, places, strict=True)]
    points = [(place, spread) for place, spread in found if spread is not None]
    if points:
        at = [place for place, _ in points]
        medians = [spread.median for _, spread in points]
        errors = [[s.median - s.low for _, s in points], [s.high - s.median for _, s in points]]
        axis.errorbar(at, medians, errors, label=label, capsize=2, elinewidth=1, **style)
