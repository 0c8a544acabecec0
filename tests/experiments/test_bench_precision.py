"""The ways of computing are six runs that differ in the recipe alone."""

from __future__ import annotations

import dataclasses

from bench_precision import precision

from repflow_pl.specs import spec_hash
from repflow_pl.tables import Setting, shown_command, split_tables


def test_rows_differ_in_the_recipe_alone() -> None:
    setting = Setting("motion_shapes")
    (table,) = split_tables([precision], setting, fingerprint="")
    assert shown_command(table, setting, 1) == "python experiments/bench_precision.py"
    assert len({spec_hash(row.spec) for row in table.rows}) == 6
    plain = table.rows[0].spec
    for row in table.rows[:3]:
        assert dataclasses.replace(row.spec, recipe=plain.recipe) == plain
    assert {(o.better, o.worse) for o in table.orderings} == {
        (table.rows[i].name, table.rows[k].name) for i in (0, 3) for k in (i + 1, i + 2)
    }
