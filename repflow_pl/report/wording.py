"""How figures are written in a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from repflow_pl.quartiles import Quartiles
from repflow_pl.report.paper import NOT_KNOWN
from repflow_pl.report.stats import Estimate

PROFILES = {
    "demo": "demo profile: a narrow backbone on small clips, not the paper's setting",
    "paper": "paper profile: the paper's backbone, clip and recipe",
}


def percent(fraction: float) -> str:
    """0.6417 -> 64.2."""
    return f"{_rounded(fraction):.1f}"


def with_interval(estimate: Estimate, show: Callable[[float], str] = percent, to: str = "–") -> str:
    """A fraction in per cent, with its interval where there is one: 64.2 (61.0–67.1)."""
    if estimate.low is None or estimate.high is None:
        return show(estimate.mean)
    return f"{show(estimate.mean)} ({show(estimate.low)}{to}{show(estimate.high)})"


def points(difference: Estimate) -> str:
    """A difference of fractions in percentage points, with its interval: +5.2 (−1.0 to +11.4)."""
    return with_interval(difference, signed, " to ")


def signed(fraction: float) -> str:
    """0.052 -> +5.2."""
    # Adding 0 turns a rounded -0.0 into 0.0.
    return f"{_rounded(fraction) + 0.0:+.1f}".replace("-", "−")


def _rounded(fraction: float) -> float:
    """In per cent. 47 of 400 is 11.75 however it was computed or kept: the error of a sum, or of a
    CSV's six digits, must not show as 11.7 on one page and 11.8 on another."""
    return round(round(100 * fraction, 6), 1)


def significant(value: float, digits: int = 3) -> str:
    """A positive number to so many significant digits, never in exponents: 0.123, 12.3, 8039."""
    if value <= 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f}"


def bracketed(spread: Quartiles, show: Callable[[float], str] = significant, to: str = "–") -> str:
    """A median with the quartiles behind it: 77.1 (74.9–81.8)."""
    return f"{show(spread.median)} ({show(spread.low)}{to}{show(spread.high)})"


def p_value(p: float | None) -> str:
    """0.012, < 0.001, or – where there is none."""
    if p is None:
        return NOT_KNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def where(data: str, profile: str, backbone: str | None = None, changes: str = "") -> str:
    """Where something was measured, in short: ucf101, demo profile resnet18, epochs 20."""
    return ", ".join(filter(None, (data, f"{profile} profile {backbone or ''}".strip(), changes)))


def where_in_full(data: str, profile: str, backbone: str | None = None, changes: str = "") -> str:
    """The same for a page's title."""
    said = PROFILES.get(profile, f"{profile} profile")
    if backbone is not None:
        rest = "small clips" if profile == "demo" else "the paper's clip and recipe"
        said = f"{profile} profile with the backbone {backbone}: {rest}"
    return f"{data} ({said}{f'; but with {changes}' if changes else ''})"


def duration(seconds: float) -> str:
    """45 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def grid(
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    left: int = 1,
    groups: Sequence[str | None] | None = None,
) -> str:
    """A Markdown table: the first `left` columns flush left, the others flush right.

    `groups`: of each line the heading that it stands under, which gets a line of its own.
    """
    rule = [":--" if index < left else "--:" for index in range(len(header))]
    shown = [header, rule]
    group = None
    for line, of_line in zip(lines, groups or [None] * len(lines), strict=True):
        if of_line != group:
            group = of_line
            shown.append([f"*{group}*" if group else "", *[""] * (len(header) - 1)])
        shown.append(line)
    return "\n".join(map(_line, shown))


def grid_of(
    lines: Sequence[Mapping[str, str]], left: int = 1, groups: Sequence[str | None] | None = None
) -> str:
    """The same of one line or more with their headings."""
    return grid(list(lines[0]), [list(line.values()) for line in lines], left, groups)


def _line(cells: Sequence[str]) -> str:
    """One line of a Markdown table; a bar inside a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
