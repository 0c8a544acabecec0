"""What is installed: what the wheel holds, and the layer where only torch and numpy are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import repflow_pl
from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.ops import representation_flow
from tests.installed import all_but, without
from tests.programs import CHECKOUT, run

pytestmark = pytest.mark.long

SECONDS = 0.3
"""How long the layer's names may take to import, once torch is there."""

IMPORT = """
import json, time
import torch
begin = time.process_time()  # not the clock: other programs may be running
from repflow_pl import FlowStack, RepFlow, representation_flow
seconds = time.process_time() - begin
torch.manual_seed(0)
layer = RepFlow(8, bottleneck=4, n_iter=3)
clip = torch.randn(2, 8, 4, 10, 12)
stacked = FlowStack(8, bottleneck=4, n_iter=3)(clip)
print(json.dumps({"seconds": seconds, "shapes": [layer(clip).shape, stacked.shape]}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real one, built as a release is, of what a clone has."""
    source, into = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("repflow_pl", "experiments"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--wheel-dir", str(into), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Package would be ignored" not in done.stderr, done.stderr
    (made,) = into.iterdir()
    return made


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as they lie where it is installed."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files_of(folder: Path) -> set[Path]:
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


SCRIPTS = "repflow_pl.scripts"
RUN = """
import contextlib, io, json, runpy, sys
said = []
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv = [module, *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            assert not ended.code, ended.code
    said.append(told.getvalue())
from repflow_pl.report.paper import __file__, paper_figures
said.append([__file__, str(paper_figures("sota").figure("RGB", "kinetics"))])
print(json.dumps(said))
"""


@dataclass(frozen=True)
class Said:
    """What a Python says that has the wheel, in an empty folder far from the checkout."""

    names: str
    """Of the scripts."""
    rows: str
    help: str
    figure: tuple[str, str]
    """One of the paper's, and the file of the module that has it."""
    out: Path
    """Of a table."""


@pytest.fixture(scope="module")
def said(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Said:
    place = tmp_path_factory.mktemp("elsewhere")
    results = ["--from-results", str(CHECKOUT / "tables" / "runs"), "--data", "ut_interaction"]
    commands = [
        [SCRIPTS],
        [SCRIPTS, "placement", "--list"],
        [SCRIPTS, "table_runtime", "--help"],
        [SCRIPTS, "placement", *results, "--out", "out"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(unpacked), "REPFLOW_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    names, rows, told, _, figure = json.loads(done.stdout)
    return Said(names, rows, told, tuple(figure), place / "out")


def test_the_wheel_holds_every_file_of_the_package_and_every_script(unpacked: Path) -> None:
    scripts = {Path("experiments") / path for path in files_of(CHECKOUT / "experiments")}
    assert files_of(unpacked / "repflow_pl") == files_of(CHECKOUT / "repflow_pl") | scripts
    assert {path.name for path in unpacked.iterdir()} == {
        "repflow_pl",
        f"repflow_pl-{repflow_pl.__version__}.dist-info",
    }


def test_the_papers_figures_come_with_the_wheel(unpacked: Path, said: Said) -> None:
    place, figure = said.figure
    assert Path(place).is_relative_to(unpacked) and float(figure) > 50


def test_the_scripts_run_from_the_wheel(said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (CHECKOUT / "experiments").glob("*.py"):
        assert (f"\n{path.stem} " in said.names) == (path.stem != "publish")
    assert "After block 5" in said.rows and "--rounds" in said.help
    assert run(SCRIPTS, ["placment"]) == 2
    assert "did you mean table_placement" in capsys.readouterr().err


def test_tables_are_rendered_from_the_wheel(said: Said) -> None:
    made = said.out / "tables" / "yours" / "ut_interaction" / "placement.csv"
    published = CHECKOUT / "tables" / "ut_interaction" / "placement.csv"
    assert made.read_bytes() == published.read_bytes()


def test_the_layer_needs_torch_and_numpy_and_is_there_at_once(tmp_path: Path) -> None:
    environment = without(all_but("torch", "numpy"), tmp_path)

    def imported() -> dict[str, object]:
        command = [sys.executable, "-W", "error::ImportWarning", "-c", IMPORT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    first = imported()
    assert first["shapes"] == [[2, 8, 3, 10, 12], [2, 8, 2, 10, 12]]
    if first["seconds"] >= SECONDS:  # type: ignore[operator]
        # It may have had to compile the modules.
        assert imported()["seconds"] < SECONDS  # type: ignore[operator]


def test_the_package_names_what_it_is_for() -> None:
    assert repflow_pl.RepFlow is RepFlow
    assert repflow_pl.FlowStack is FlowStack
    assert repflow_pl.representation_flow is representation_flow
    assert set(repflow_pl.__all__) <= set(dir(repflow_pl))
    with pytest.raises(AttributeError, match="no attribute 'RepFlov'"):
        _ = repflow_pl.RepFlov


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(repflow_pl.__file__).parent / "py.typed").is_file()
