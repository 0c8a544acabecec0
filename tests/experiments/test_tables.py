"""Every row of every script is found, built, and fits its data set, in both profiles."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from repflow_pl.models.build import build_model
from repflow_pl.profiles import build_profile
from repflow_pl.report.paper import paper_figures
from repflow_pl.report.table import Table
from repflow_pl.specs import DataSpec, spec_hash, streams_of

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def placement(profile: str, data: str) -> Table:
    chosen = build_profile(profile, data)  # type: ignore[arg-type]
    table: Table = script("table_placement").placement(chosen, DataSpec(data, chosen.clip))
    return table


CASES = [(p, d) for p in ("demo", "paper") for d in ("motion_shapes", "ut_interaction", "folder")]


@pytest.mark.parametrize(("profile", "data"), CASES)
def test_rows_are_different_runs_of_known_models(profile: str, data: str) -> None:
    table = placement(profile, data)
    assert len({spec_hash(row.spec) for row in table.rows}) == len(table.rows)
    for row in table.rows:
        with torch.device("meta"):
            build_model(row.spec.model, classes=2)


def test_every_row_of_the_papers_table_is_there() -> None:
    rows = [row.paper for row in placement("demo", "motion_shapes").rows if row.paper]
    assert rows == [row.name for row in paper_figures("placement").rows]


@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_every_row_learns_from_a_clip(profile: str) -> None:
    """One forward and backward pass of each model, the paper's at a reduced size."""
    frames = 12
    of = {
        "rgb": torch.randn(2, 3, frames, 64, 64),
        "tvl1": torch.randn(2, 2, frames - 1, 64, 64),
        "tvl1_twice": torch.randn(2, 4, frames - 2, 64, 64),
    }
    for row in placement(profile, "motion_shapes").rows:
        model = build_model(row.spec.model, classes=3)
        scores = model(*(of[stream] for stream in streams_of(row.spec.model)))
        scores.square().sum().backward()
        assert scores.shape == (2, 3) and scores.isfinite().all(), row.name
