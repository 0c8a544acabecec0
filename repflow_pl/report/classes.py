"""Class by class: what a table's best row and its RGB row take each class for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from repflow_pl.report.collect import Collected
from repflow_pl.report.page import Beside, page_text
from repflow_pl.report.paper import NOT_KNOWN
from repflow_pl.report.plot_style import (
    DPI,
    FAINT,
    INK,
    KINDS,
    WIDTH_INCHES,
    drawn,
    panel_title,
    write_title,
)
from repflow_pl.report.rows import Context, Row, Table
from repflow_pl.report.stats import Answers, Estimate, accuracy
from repflow_pl.report.summary import ranked
from repflow_pl.report.wording import grid, percent, signed, with_interval
from repflow_pl.specs import ModelSpec

KIND = "classes"
MOST_NAMES = 30
"""With more classes a matrix has no names, and its greatest cells stand in a table."""
PAIRS = 15
_HEAD, _GAP, _LETTER = 0.95, 0.25, 0.068
_SHADES = LinearSegmentedColormap.from_list("shades", ["white", KINDS[1]])
Shares = npt.NDArray[np.float64]


def class_page(table: Table, context: Context, collected: Sequence[Collected]) -> Beside | None:
    """The page, of those of the two rows that kept their predictions; None where neither did."""
    entries = [entry for entry in compared(collected) if entry.predictions]
    if not entries:
        return None
    names = context.classes or [str(label) for label in range(len(confusion(entries[0])))]
    which = " and ".join(entry.row.name for entry in entries)
    parts = [
        f"Of [{table.title}]({table.name}.md): {which}. A line of a matrix is a class, and its "
        "cells are what per cent of its test videos were taken for the class of the column, over "
        "all seeds; of several splits, the mean. A video that could not be read is in no cell, and "
        "an error.",
        _accuracies(entries, names),
        "Top-1 of each class's test videos in per cent, with 95 % intervals over seeds and videos "
        "where there are several of both."
        + " The difference, in points, is that of one class: it decides nothing."
        * (len(entries) > 1),
    ]
    if len(names) > MOST_NAMES:
        parts += ["## What is confused most", *(_pairs(entry, names) for entry in entries)]
    picture = drawn(lambda: class_figure(table, context, entries, names))
    title = f"Class by class: {table.title}: {context.where}"
    shows = "What the videos of each class were taken for"
    page = page_text(title, shows, f"{table.name}_{KIND}", parts)
    return Beside(KIND, page, picture)


def compared(collected: Sequence[Collected]) -> list[Collected]:
    """The best row, and the first that is a plain RGB network, or else the table's first row."""
    plain = [entry for entry in collected if is_plain_rgb(entry.row)]
    best = ranked([entry for entry in collected if not entry.row.control])[:1]
    # Of a row that is both, one is enough.
    return list({entry.row.name: entry for entry in [*best, *(plain or collected)[:1]]}.values())


def is_plain_rgb(row: Row) -> bool:
    """Whether a row is a network of RGB frames without anything that represents motion."""
    model = row.spec.model
    return isinstance(model, ModelSpec) and (
        (model.stream, model.flow, model.motion) == ("rgb", None, None)
    )


def confusion(entry: Collected) -> Shares:
    """[true class, answered class]: the share of a class's videos, unseen ones among them, over all
    seeds; the mean of the splits that have any, as accuracies are. 0 for a class without any."""
    classes = entry.predictions[0][0].scores.shape[1]
    shares, splits = np.zeros((classes, classes)), np.zeros((classes, 1))
    for runs in entry.predictions:
        counts = np.zeros((classes, classes))
        for run in runs:
            seen = run.scores.any(1)
            np.add.at(counts, (run.label[seen], run.answer[seen]), 1)
        videos = len(runs) * np.bincount(runs[0].label, minlength=classes)[:, None]
        shares += counts / np.maximum(videos, 1)
        splits += videos > 0
    return shares / np.maximum(splits, 1)


def class_accuracy(entry: Collected, label: int) -> Estimate | None:
    """Top-1 of one class's videos; None where no split has any of them."""
    parts = []
    for split in entry.predictions:
        of_class = split[0].label == label
        if of_class.any():
            right = np.stack([run.right[of_class] for run in split]).astype(float)
            _, groups = np.unique(split[0].group[of_class], return_inverse=True)
            parts.append(Answers(right, groups))
    return accuracy(parts) if parts else None


def _accuracies(entries: Sequence[Collected], names: Sequence[str]) -> str:
    lines = []
    for label, name in enumerate(names):
        found = [class_accuracy(entry, label) for entry in entries]
        videos = sum(int((split[0].label == label).sum()) for split in entries[0].predictions)
        known = [each for each in found if each is not None]
        cells = [with_interval(each) if each else NOT_KNOWN for each in found]
        if len(entries) > 1:
            both = len(known) == len(entries)
            cells.append(signed(known[0].mean - known[-1].mean) if both else NOT_KNOWN)
        lines.append([name, str(videos), *cells])
    titles = [f"{entry.row.name}, n = {len(entry.results)}" for entry in entries]
    return grid(["class", "videos", *titles, *["difference"] * (len(entries) > 1)], lines)


def _pairs(entry: Collected, names: Sequence[str]) -> str:
    """The cells off the diagonal with the greatest share of their class."""
    shares = confusion(entry)
    np.fill_diagonal(shares, 0.0)
    order = np.argsort(-shares, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(place), len(names)) for place in order]
    lines = [
        [names[true], names[answer], percent(shares[true, answer])]
        for true, answer in places
        if shares[true, answer]
    ]
    return grid([f"{entry.row.name}: class", "taken for", "% of its videos"], lines, left=2)


def class_figure(
    table: Table, context: Context, entries: Sequence[Collected], names: Sequence[str]
) -> Figure:
    """The matrices side by side, as large as two are; names at the left and below."""
    named = len(names) <= MOST_NAMES
    margin = 0.2 + (_LETTER * max(map(len, names)) if named else 0.2)
    side = (WIDTH_INCHES - margin - _GAP - 0.15) / 2
    height = _HEAD + side + margin
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI)
    write_title(figure, f"{table.title}: {context.where}")
    for k, entry in enumerate(entries):
        left = (margin + k * (side + _GAP)) / WIDTH_INCHES
        axis = figure.add_axes((left, margin / height, side / WIDTH_INCHES, side / height))
        _matrix(axis, confusion(entry), names if named else None, k == 0)
        top1 = percent(float(np.mean([result.top1 for result in entry.results])))
        panel_title(axis, [f"{entry.row.name}: {top1} %", "% of a class (line) taken for (column)"])
    return figure


def _matrix(axis: Axes, shares: Shares, names: Sequence[str] | None, first: bool) -> None:
    axis.imshow(shares, cmap=_SHADES, vmin=0, vmax=1, interpolation="nearest")
    axis.tick_params(length=0, colors=INK, labelsize=7, pad=2)
    for edge in axis.spines.values():
        edge.set_color(FAINT)
    if names is None:
        axis.set(xticks=[], yticks=[])
        return
    # A folder's name may have two $ in it, which would be a formula.
    axis.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
    axis.set_yticks(range(len(names)) if first else [], names if first else [], parse_math=False)
    for (true, answer), share in np.ndenumerate(shares):
        if share >= 0.005:
            size, colour = 8 if len(names) <= 10 else 5.5, "white" if share > 0.7 else INK
            said = f"{100 * share:.0f}"
            axis.text(answer, true, said, ha="center", va="center", size=size, color=colour)
