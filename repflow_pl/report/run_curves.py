"""The training curves of any runs in one picture, finished or under way: no table is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repflow_pl.errors import UserError
from repflow_pl.report.page import write
from repflow_pl.report.paper import NOT_KNOWN
from repflow_pl.report.plot_style import (
    FAINT,
    KINDS,
    PictureKind,
    drawn,
    panel_title,
    panels,
    ruled,
)
from repflow_pl.report.wording import grid, percent
from repflow_pl.training.recording.curve import CURVE, read_curve

ENDINGS: dict[str, PictureKind] = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
QUANTITIES = {
    "train_loss": "training loss",
    "train_top1": "training, top-1 % of clips",
    "val_loss": "validation loss",
    "val_top1": "validation, top-1 %",
}
_STYLES = ("-", "--", ":", "-.")
_PANEL, _LEGEND_LINE = 2.4, 0.22
Flat = Mapping[str, str]
"""A spec's fields by their names with dots: `model.flow.after_block`."""


@dataclass(frozen=True)
class Curves:
    """The runs of one spec."""

    name: str
    """The spec's hash."""
    spec: Flat
    figures: pd.DataFrame
    """A line an epoch and run, accuracies in per cent."""
    unfinished: int
    """How many of the runs have no result."""


def draw_curves(places: Sequence[str], out: Path, runs: Path) -> str:
    """Draw the curves of all runs below some folders, see `folders`; what to say of them, as
    Markdown.

    Runs of one spec are one line, the mean over their seeds, in a band from the least to the
    greatest. Specs are called by what of them differs.

    Errors: UserError where there are none, one is damaged, or the picture cannot be written.
    """
    kind = ENDINGS.get(out.suffix.lower())
    if kind is None:
        raise UserError(f"{out} is no picture's name: end it in {', '.join(ENDINGS)}.")
    found = read_runs(folders(places, runs))
    names = labels({curves.name: curves.spec for curves in found})
    write(out, drawn(lambda: figure(found, names), kind))
    return f"{ends(found, names)}\n\nwrote {out}"


def folders(places: Sequence[str], runs: Path) -> list[Path]:
    """The folders meant: each place itself, or those in `runs` whose names begin so.

    Errors: UserError for a place of which there is neither.
    """
    found: list[Path] = []
    for place in places:
        begun = runs / place
        named = sorted(run for run in begun.parent.glob("*/") if run.name.startswith(begun.name))
        here = [Path(place)] if Path(place).is_dir() else named
        if not here:
            raise UserError(f"there is no folder {place}, and no run in {runs} is called so.")
        found += here
    return found


def read_runs(places: Sequence[Path]) -> list[Curves]:
    """All runs below some folders that have a curve, those of one spec together.

    Errors: UserError where there are none, or one is damaged.
    """
    paths = dict.fromkeys(path.resolve() for place in places for path in sorted(place.rglob(CURVE)))
    if not paths:
        raise UserError(
            f"no {CURVE} below {', '.join(map(str, places))}: a run has one from its first epoch "
            "on, a late fusion and runs of old versions have none."
        )
    by_spec: dict[str, list[Path]] = {}
    for path in paths:
        by_spec.setdefault(path.parents[1].name, []).append(path)
    return [_curves(name, found) for name, found in by_spec.items()]


def _curves(name: str, paths: Sequence[Path]) -> Curves:
    finished = sum(path.with_name("result.json").is_file() for path in paths)
    spec = flat_spec(paths[0].with_name("spec.json"))
    return Curves(name, spec, figures_of(paths), len(paths) - finished)


def figures_of(paths: Sequence[Path]) -> pd.DataFrame:
    """Of some runs' curves, one or more: a line an epoch and run, accuracies in per cent."""
    figures = pd.concat(pd.DataFrame(read_curve(p)).assign(run=k) for k, p in enumerate(paths))
    figures = figures.astype(dict.fromkeys(QUANTITIES, float))
    for accuracy in ("train_top1", "val_top1"):
        figures[accuracy] *= 100
    return figures


def flat_spec(path: Path) -> Flat:
    """What a spec.json says; nothing where it is not there or damaged: it is for people."""
    try:
        return dict(_flat(json.loads(path.read_text(encoding="utf-8")), ""))
    except (OSError, ValueError):
        return {}


def _flat(value: Any, name: str) -> list[tuple[str, str]]:
    inner = value.items() if isinstance(value, dict) else ()
    if inner:
        return [pair for key, each in inner for pair in _flat(each, f"{name}.{key}".strip("."))]
    return [] if value is None else [(name, str(value))]


def labels(specs: Mapping[str, Flat]) -> dict[str, str]:
    """A name for each spec: as few fields, in the spec's order, as tell it from the others.

    One spec alone, and what differs in nothing that is known, has its hash.

    >>> labels({"a": {"flow.n_iter": "5"}, "b": {"flow.n_iter": "9"}, "c": {}})
    {'a': 'flow.n_iter 5', 'b': 'flow.n_iter 9', 'c': 'flow.n_iter –'}
    """
    # What tells a list of videos apart says least to a reader, so it comes last.
    fields = sorted(
        dict.fromkeys(name for spec in specs.values() for name in spec),
        key=lambda name: name.endswith("fingerprint"),
    )
    chosen: list[str] = []

    def groups() -> int:
        return len({tuple(spec.get(each) for each in chosen) for spec in specs.values()})

    for name in fields:
        before = groups()
        chosen.append(name)
        if groups() == before:
            chosen.pop()
    said = {
        key: ", ".join(f"{_short(name)} {spec.get(name, NOT_KNOWN)}" for name in chosen)
        for key, spec in specs.items()
    }
    twice = [*said.values()]
    return {
        key: text if text and twice.count(text) == 1 else f"{text} {key}".strip()
        for key, text in said.items()
    }


def _short(name: str) -> str:
    """The last two parts of a field's name, without what every spec has."""
    if name == "data.name":
        return "data"
    return ".".join(part for part in name.split(".")[-2:] if part not in ("model", "data"))


def ends(found: Sequence[Curves], names: Mapping[str, str]) -> str:
    """A table of where the curves end."""
    lines = []
    for curves in found:
        last = curves.figures.groupby("run").tail(1).mean(numeric_only=True)
        runs = curves.figures["run"].nunique()
        lines.append(
            [
                names[curves.name],
                curves.name,
                f"{runs} ({curves.unfinished} unfinished)" if curves.unfinished else str(runs),
                f"{last['epoch']:g}",
                *(shown(name, last[name]) for name in QUANTITIES),
            ]
        )
    return grid(["runs", "folder", "n", "epochs", *QUANTITIES.values()], lines, left=2)


def shown(quantity: str, value: float, decimals: int = 3) -> str:
    """A figure of a curve, a loss with so many decimals."""
    if pd.isna(value):
        return NOT_KNOWN
    return percent(value / 100) if quantity.endswith("top1") else f"{value:.{decimals}f}"


def figure(found: Sequence[Curves], names: Mapping[str, str]) -> Figure:
    """A panel for each quantity that any run has, the same colour for a spec in all of them."""
    drawn_in = [name for name in QUANTITIES if any(c.figures[name].notna().any() for c in found)]
    lines = -(-len(drawn_in) // 2)
    legend = _LEGEND_LINE * len(found) + 0.4
    made, axes = panels(
        "", lines * _PANEL + legend, (lines, 2), left=0.54, head=0.4, foot=legend + 0.3,
        hspace=0.35, wspace=0.14,
    )  # fmt: skip
    for axis, quantity in zip(axes, drawn_in, strict=True):
        _panel(axis, found, names, quantity)
    made.legend(
        handles=axes[0].get_lines(), loc="lower left", bbox_to_anchor=(0.05, 0.0),
        frameon=False, fontsize=9,
    )  # fmt: skip
    return made


def _panel(axis: Axes, found: Sequence[Curves], names: Mapping[str, str], quantity: str) -> None:
    ruled(axis)
    panel_title(axis, [QUANTITIES[quantity]])
    axis.set_xlabel("epoch", color=FAINT, size=8.5)
    for k, curves in enumerate(found):
        round_, colour = divmod(k, len(KINDS))
        by_epoch = curves.figures.groupby("epoch")[quantity]
        few = curves.figures["epoch"].max() == 1
        axis.plot(
            by_epoch.mean(), color=KINDS[colour], ls=_STYLES[round_ % len(_STYLES)], lw=1.5,
            marker="o" if few else None, ms=3, label=names[curves.name],
        )  # fmt: skip
        low, high = by_epoch.min(), by_epoch.max()
        axis.fill_between(low.index, low, high, color=KINDS[colour], alpha=0.2, lw=0)
    last = max(int(curves.figures["epoch"].max()) for curves in found)
    axis.set(xlim=(0, last + 1), ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
