"""What `make dist` built, installed as a user does: into new environments, in other folders."""

from __future__ import annotations

import subprocess
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import repflow_pl
from tests.programs import CHECKOUT

pytestmark = pytest.mark.fresh
DIST = CHECKOUT / "dist"

LAYER = """
import torch
from repflow_pl import FlowStack, RepFlow
clip = torch.randn(2, 8, 4, 10, 12)
print([list(layer(8, bottleneck=4)(clip).shape) for layer in (RepFlow, FlowStack)])
"""


class Environment:
    """A new Python with the wheel, or a wheel's extras, and an empty folder to work in."""

    def __init__(self, folder: Path, *what: str) -> None:
        venv.create(folder / "python", with_pip=True)
        self.python, self.place = folder / "python" / "bin" / "python", folder / "place"
        self.place.mkdir()
        constraints = str(CHECKOUT / "constraints.txt")
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run(*install, "-c", constraints, *what)

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a program of this Python says."""
        done = subprocess.run(
            [str(self.python), *arguments], cwd=self.place, capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        return said

    def packages(self) -> set[str]:
        lines = self.run("-m", "pip", "--disable-pip-version-check", "list", "--format=freeze")
        return {line.partition("==")[0].lower() for line in lines.splitlines()}


def built(ending: str) -> Path:
    """The one file of that kind, which has the version."""
    files = list(DIST.glob(f"repflow_pl-{repflow_pl.__version__}{ending}"))
    assert len(files) == 1, "run: make dist"
    return files[0]


def test_the_layer_alone(tmp_path: Path) -> None:
    alone = Environment(tmp_path, str(built("-*.whl")))
    shapes = alone.run("-W", "ignore", "-c", LAYER).strip()
    assert shapes == "[[2, 8, 3, 10, 12], [2, 8, 2, 10, 12]]"
    others = {"torchvision", "lightning", "pandas", "av", "numba", "matplotlib", "wandb"}
    assert "torch" in alone.packages() and not alone.packages() & others
    said = alone.run("-m", "repflow_pl", "--help", status=2)
    assert "pip install 'repflow-pl[video]'" in said


def test_all_of_it(tmp_path: Path) -> None:
    whole = Environment(tmp_path, f"{built('-*.whl')}[all]")
    assert "After block 3" in whole.run("-m", "repflow_pl.scripts", "placement", "--list")
    assert "predict" in whole.run("-m", "repflow_pl", "--help")
    figures = "from repflow_pl.report.paper import paper_figures; print(paper_figures('sota'))"
    assert "PaperTable" in whole.run("-c", figures)
    assert "No broken requirements" in whole.run("-m", "pip", "check")


def test_the_archive_holds_what_the_wheel_is_made_of() -> None:
    with tarfile.open(built(".tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(built("-*.whl")) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {name.replace("repflow_pl/experiments/", "experiments/") for name in files}
    assert sources <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names
