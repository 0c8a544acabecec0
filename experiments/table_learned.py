"""The table of learned parameters: which of the flow layer's parameters are worth training?

Piergiovanni and Ryoo (CVPR 2019), Section 4.2: the flow layer after block 3 with different parts of
Alg. 1 trained and the others left at their initial values. The paper finds it best to train the
divergence and the three scalars and to leave the image gradient fixed.

    python experiments/table_learned.py --seeds 3
"""

from __future__ import annotations

import sys

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import FLOW_PARAMETERS, DataSpec, FlowParameter

BLOCK = 3
SCALARS = ("theta", "lam", "tau")


def learned(profile: Profile, data: DataSpec) -> Table:
    """The rows differ in `learn`; the Sobel row, as in the paper's text, in its kernels too."""

    def row(
        name: str, learn: tuple[FlowParameter, ...], paper: str | None = None, **changes: str
    ) -> Row:
        return Row(name, profile.flow_after(data, BLOCK, learn=learn, **changes), paper=paper)

    best = "Divergence + tau, lambda, theta"
    gradient = ("image_grad",)
    rows = (
        row("None (all fixed)", (), "None (all fixed)"),
        row("Image gradient (Sobel)", gradient, "Sobel kernels", kernels="sobel"),
        row("Image gradient (central, as released)", gradient),
        row("Divergence", ("divergence",), "Divergence"),
        row("tau, lambda, theta", SCALARS, "tau, lambda, theta"),
        row("All", FLOW_PARAMETERS, "All"),
        row(best, ("divergence", *SCALARS), best),
    )
    return Table(
        name="learned",
        title="Which flow parameters to learn",
        rows=rows,
        paper_csv="learned",
        source="Section 4.2",
        orderings=tuple(
            Ordering(f"learning divergence and scalars beats {other.name}", best, other.name)
            for other in rows
            if other.paper not in (None, best)
        ),
    )


if __name__ == "__main__":
    sys.exit(main(learned))
