"""What other ways of computing do to accuracy: bf16 mixed precision, and torch.compile.

The plain network and the flow layer after block 3, each in float32, in bf16 (`--precision bf16`)
and compiled (`--compile`), with the differences paired over seeds. No table of the paper, so
all_tables.py leaves it out; compiling for a CPU needs a C++ compiler.

    python experiments/bench_precision.py --seeds 3
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.table import Ordering, Row, Table
from repflow_pl.specs import DataSpec, RunSpec

BLOCK = 3


def precision(profile: Profile, data: DataSpec) -> Table:
    """Two networks, each trained in three ways."""
    networks = {
        "RGB CNN": profile.rgb(data),
        f"Flow layer after block {BLOCK}": profile.flow_after(data, BLOCK),
    }
    rows, claims = [], []
    for name, spec in networks.items():
        plain, *others = (
            Row(f"{name}, float32", _computed(spec, precision="32", compile=False)),
            Row(f"{name}, bf16", _computed(spec, precision="bf16", compile=False)),
            Row(f"{name}, compiled", _computed(spec, precision="32", compile=True)),
        )
        rows += [plain, *others]
        claims += [Ordering(f"{plain.name} beats {o.name}", plain.name, o.name) for o in others]
    return Table(
        name="precision",
        title="Ways of computing",
        rows=tuple(rows),
        orderings=tuple(claims),
        script="bench_precision.py",
    )


def _computed(spec: RunSpec, **changes: Any) -> RunSpec:
    return dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, **changes))


if __name__ == "__main__":
    sys.exit(main(precision))
