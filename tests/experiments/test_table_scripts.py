"""Every row of every script is found by itself, trained for a step, tested and rendered."""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import pandas as pd
import pytest
import torch
from all_tables import FOLDER, builder, table_names
from rich.console import Console
from torchvision.models.optical_flow import raft_small

from repflow_pl.cli import Options, run_tables
from repflow_pl.data.fields.raft import WEIGHTS
from repflow_pl.data.upkeep import metadata
from repflow_pl.models.build import build_model
from repflow_pl.profiles import Profile, ProfileName, build_profile
from repflow_pl.report.paper import paper_figures
from repflow_pl.report.table import Table
from repflow_pl.specs import ClipSpec, DataSpec, ModelSpec, RecipeSpec, networks_of, spec_hash
from repflow_pl.tables import Setting, TableBuilder, split_tables
from repflow_pl.training import run
from repflow_pl.training.costs import measure

NAMES = table_names()

PROFILES: tuple[ProfileName, ...] = ("demo", "paper")
SETS = ("motion_shapes", "ut_interaction", "folder")

TINY: dict[ProfileName, ClipSpec] = {
    name: ClipSpec(frames=8, size=side, crop=(side, side), views=1, short="hold")
    for name, side in (("demo", 48), ("paper", 64))
}


def test_every_script_of_a_table_is_found() -> None:
    assert NAMES[0] == "placement"
    scripts = [p for p in FOLDER.glob("*.py") if "repflow_pl.cli" in p.read_text()]
    tables = {f"table_{name}" for name in NAMES}
    others = {"all_tables", "bench_precision", "bundled_weights", "choose_recipe", "flow_fields"}
    assert {p.stem for p in scripts} == {*others, *tables}


@pytest.mark.long
@pytest.mark.parametrize("profile", PROFILES)
def test_rows_are_different_runs_of_known_models(profile: ProfileName) -> None:
    """Tables share their networks, late fusions theirs, and sets of videos theirs."""
    models: set[ModelSpec] = set()
    for data in SETS:
        tables = split_tables([builder(name) for name in NAMES], Setting(data, profile), "")
        assert [table.name for table in tables] == NAMES, "files are named as their scripts"
        for table in tables:
            assert len({spec_hash(row.spec) for row in table.rows}) == len(table.rows)
            models |= {model for row in table.rows for model in networks_of(row.spec.model)}
    for model in models:
        with torch.device("meta"):
            build_model(model, classes=2)


@pytest.mark.parametrize("name", ["placement", "motion", "volumetric"])
def test_every_row_of_the_papers_table_is_there(name: str) -> None:
    (table,) = split_tables([builder(name)], Setting(), fingerprint="")
    rows = [row.paper for row in table.rows if row.paper]
    assert rows == [*paper_figures(name).rows]


def test_the_state_of_the_art_claims_what_the_papers_figures_say() -> None:
    (table,) = split_tables([builder("sota")], Setting(), fingerprint="")
    paper = paper_figures("sota")
    for claim in table.orderings:
        better, worse = (paper.figure(row, "kinetics") for row in (claim.better, claim.worse))
        assert (better.value or 0) > (worse.value or 0), claim


@pytest.fixture(scope="module")
def few_videos(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes: 4 videos to train, 2 to test."""
    root = tmp_path_factory.mktemp("few")
    for label in ("left", "right"):
        for part, count in (("train", 2), ("test", 1)):
            (root / part / label).mkdir(parents=True)
            for k in range(count):
                shutil.copy(video_folder / part / label / f"{k}.mp4", root / part / label)
    return root


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of runs, so that what several tables show is trained once."""
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module", autouse=True)
def raft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A fresh network in the place of the weights that one table needs."""
    home = tmp_path_factory.mktemp("torch")
    path = home / "hub" / "checkpoints" / Path(urlparse(WEIGHTS.url).path).name
    path.parent.mkdir(parents=True)
    torch.save(raft_small().state_dict(), path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TORCH_HOME", str(home))
        yield


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row's time is measured in 2 rounds, not in 30 and 3 more: half of what these runs take."""
    monkeypatch.setattr(measure, "in_turns", partial(measure.in_turns, warm_up=0))
    monkeypatch.setattr(run, "measure_latency", partial(measure.measure_latency, repeats=2))
    monkeypatch.setattr(metadata, "TREES", 20)


def one_step(recipe: RecipeSpec) -> RecipeSpec:
    return dataclasses.replace(recipe, epochs=1, batch=4)


def tiny(build: TableBuilder, profile: Profile, data: DataSpec) -> Table:
    """A table whose runs are one step on small clips; all else is as the script has it."""
    small = dataclasses.replace(
        profile,
        recipe=one_step(profile.recipe),
        baseline_recipe=one_step(profile.baseline_recipe),
        stack=2,
        n_iter=2,
        tvnet=dataclasses.replace(profile.tvnet, n_iter=2),
        clip=TINY[profile.name],
    )
    return build(small, dataclasses.replace(data, clip=TINY[profile.name]))


def run_every_row(names: Sequence[str], profile: ProfileName, videos: Path, out: Path) -> None:
    """Train, test and render tables through the scripts' own code, and look at their CSVs."""
    options = Options(Setting("folder", profile), data_root=videos, out=out, wandb="disabled")
    output = io.StringIO()
    console = Console(file=output, soft_wrap=True, markup=False)
    status = run_tables([partial(tiny, builder(name)) for name in names], options, console)
    assert status == 0, output.getvalue()
    ending = "" if profile == "demo" else f"-{profile}"
    for name in names:
        (path,) = out.glob(f"tables/yours/folder-{'?' * 12}{ending}/{name}.csv")
        frame = pd.read_csv(path)
        table = tiny(builder(name), build_profile(profile, "folder"), DataSpec("folder"))
        assert list(frame["row"]) == [row.name for row in table.rows]
        assert set(frame["state"]) == {"done"}
        assert frame["top1"].between(0, 100).all() and (frame["videos_test"] == 2).all()


# Rows of the volumetric table learn in test_table_volumetric.py; those of iterations differ in one
# number, and two of them are other tables' too; those of fusion in how two maps are joined, which
# test_models.py has; those of today and of the state of the art have parts with tests of their own.
SLOW = ("volumetric", "iterations", "fusion", "today", "sota")
TOGETHER = tuple(name for name in NAMES if name not in SLOW)
"""In one go, so that what several of them show is trained once."""


@pytest.mark.long
@pytest.mark.parametrize(
    "names", [TOGETHER, *(pytest.param((name,), marks=pytest.mark.slow) for name in SLOW)], ids=str
)
def test_every_row_runs(
    names: tuple[str, ...],
    few_videos: Path,
    shared_out: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    run_every_row(names, "demo", few_videos, shared_out)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_row_runs_in_the_papers_profile(
    name: str,
    few_videos: Path,
    shared_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    try:
        run_every_row([name], "paper", few_videos, tmp_path)
    finally:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)  # gigabytes of checkpoints
