"""Every claim's effect with its interval, one line a claim, a panel for each data set."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repflow_pl.report.claims import Claim
from repflow_pl.report.claims_page import ClaimsBySet
from repflow_pl.report.plot_style import (
    FAINT,
    INK,
    WIDTH_INCHES,
    bare,
    drawn,
    label,
    name_group,
    panel_title,
    panels,
)
from repflow_pl.report.stats import Verdict

COLOURS: dict[Verdict, str] = {
    "holds": "#3d8b57",
    "fails": "#c4512d",
    "even": "#3f78b5",
    "undecided": "#a9b4bc",
}
COUNTED: dict[Verdict, str] = {"holds": "hold", "fails": "fail"}
_LINE, _HEAD, _FOOT, _LETTER = 0.235, 1.45, 0.55, 0.066
_LONGEST = 48
"""Letters of a line of a claim."""
_MORE = 0.6
"""What each further line takes, of a first."""


def plot_claims(claims: ClaimsBySet) -> bytes:
    """A PNG of the figure."""
    return drawn(lambda: claims_figure(claims))


def claims_figure(claims: ClaimsBySet) -> Figure:
    """Claims from the top in the order of the page, a gap between tables."""
    keys = list(dict.fromkeys((c.table, c.claim) for found in claims.values() for c in found))
    titles = {c.table: c.title for found in claims.values() for c in found}
    places: dict[tuple[str, str], float] = {}
    headings: dict[str, float] = {}
    place = 0.0
    lines = {name: textwrap.wrap(name, _LONGEST, break_on_hyphens=False) for _, name in keys}
    for table, name in keys:
        if table not in headings:
            headings[table] = place + 0.25
            place += 1.25
        more = _MORE * (len(lines[name]) - 1)
        places[table, name] = place + more / 2
        place += 1 + more
    height = _HEAD + _FOOT + _LINE * place
    left = 0.25 + _LETTER * max(len(line) for wrapped in lines.values() for line in wrapped)
    title = "The paper's claims: effect on top-1, with 95 % intervals"
    figure, axes = panels(
        title, height, (1, len(claims)), left=left, head=_HEAD, foot=_FOOT, sharey=True, wspace=0.06
    )
    for axis, (data, found) in zip(axes, claims.items(), strict=True):
        _panel(axis, data, {places[c.table, c.claim]: c for c in found})
    axes[0].set_yticks(list(places.values()), ["\n".join(lines[name]) for _, name in keys])
    axes[0].tick_params(axis="y", labelsize=8, labelcolor=INK)
    axes[0].set_ylim(place, -0.4)
    for table, y in headings.items():
        name_group(axes[0], titles[table], y, size=8.5)
    figure.text(  # once for all panels, which may be narrower than it
        (left / WIDTH_INCHES + 0.985) / 2,
        0.12 / height,
        "points by which the better row is ahead",
        ha="center",
        color=FAINT,
        size=8.5,
    )
    return figure


def _panel(axis: Axes, data: str, claims: dict[float, Claim]) -> None:
    bare(axis)
    axis.axvline(0, color=INK, lw=0.9, zorder=1)
    for place, claim in claims.items():
        found, colour = claim.effect, COLOURS[claim.verdict]
        if found is None:
            continue
        if found.low is not None and found.high is not None:
            ends = [100 * found.low, 100 * found.high]
            axis.plot(ends, [place, place], color=colour, lw=1.8, zorder=2)
        axis.scatter(100 * found.mean, place, s=24, color=colour, zorder=3)
    counts = {kind: sum(c.verdict == kind for c in claims.values()) for kind in COLOURS}
    panel_title(axis, [data])
    for k, (kind, colour) in enumerate(COLOURS.items()):
        said = f"{counts[kind]} {COUNTED.get(kind, kind)}"
        label(
            axis,
            said,
            (0, 1),
            (0, 58 - 12 * k),
            on="axes fraction",
            size=9,
            weight="bold",
            color=colour,
        )
