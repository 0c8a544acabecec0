"""How a demo recipe was chosen: learning rate, epochs and clip, one at a time.

The test parts choose nothing. On UCF101 each candidate is trained on groups 1 to 21 and evaluated
on groups 22 to 25, which no official split tests; on motion_shapes it is evaluated on the
validation part. The plain network and the flow layer after block 3 get the same recipe, so both are
looked at. No table of the paper, so all_tables.py leaves it out.

    python experiments/choose_recipe.py --data motion_shapes_validation
    python experiments/choose_recipe.py --data ucf101_validation --data-root VIDEOS
"""

from __future__ import annotations

import dataclasses
import sys
from functools import partial

from repflow_pl.cli import main
from repflow_pl.profiles import Profile
from repflow_pl.report.table import Row, Table
from repflow_pl.specs import DataSpec

BLOCK = 3
SHORT = ((10, 1e-3), (10, 3e-3), (10, 1e-2), (20, 3e-3))
LONG = ((40, 1e-3), (40, 3e-3), (40, 1e-2), (20, 3e-3), (80, 3e-3))
"""Epochs and learning rates: of motion_shapes, whose epochs have more steps, and of UCF101."""


def recipe(profile: Profile, data: DataSpec) -> Table:
    """The profile's recipe and its neighbours."""
    base, clip = profile.recipe, data.clip
    generated = data.name == "motion_shapes_validation"
    recipes = {
        f"{epochs} epochs, {lr:g}": (dataclasses.replace(base, epochs=epochs, lr=lr), clip)
        for epochs, lr in (SHORT if generated else LONG)
    }
    if not generated:  # motion_shapes is drawn for its clips
        at = dataclasses.replace(base, epochs=40, lr=3e-3)
        recipes |= {
            "40 epochs, 0.003, 16 frames": (at, dataclasses.replace(clip, frames=16)),
            "40 epochs, 0.003, every fourth frame": (at, dataclasses.replace(clip, stride=4)),
        }
    networks = {
        "RGB": profile.rgb,
        f"Flow after block {BLOCK}": partial(profile.flow_after, block=BLOCK),
    }
    rows = tuple(
        Row(
            f"{network}: {name}",
            dataclasses.replace(build(dataclasses.replace(data, clip=c)), recipe=r),
            group=network,
        )
        for network, build in networks.items()
        for name, (r, c) in recipes.items()
    )
    return Table("recipe", "How the recipe was chosen", rows, script="choose_recipe.py")


if __name__ == "__main__":
    sys.exit(main(recipe))
