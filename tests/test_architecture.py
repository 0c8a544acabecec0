"""Imports point one way, and the light parts of the package stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "repflow_pl"

Order = tuple[tuple[str, ...], ...]

# A module may import what stands before it, and its own line.
ORDER: Order = (
    ("errors", "extras", "specs", "strict"),
    ("ending", "files", "options", "quartiles", "templates", "weights"),
    ("program",),
    ("ops",),
    ("layers",),
    ("backbones",),
    ("models",),
    ("released",),
    ("data",),
    ("training",),
    ("launching",),
    ("report",),
    ("audit",),
    ("showing",),
    ("profiles",),
    ("changes",),
    ("tables",),
    ("cli", "one_split", "scripts"),
    ("__main__",),
)

# The same within the two largest folders, for their rooms and the files beside them.
WITHIN: dict[str, Order] = {
    "data": (
        ("parallel", "share"),
        ("decoding",),
        ("listing",),
        ("index",),
        ("sets",),
        ("frames",),
        ("fields",),
        ("floats", "sampler", "transforms"),
        ("streams", "views"),
        ("clips",),
        ("module",),
        ("upkeep",),
        ("__main__",),
    ),
    "training": (
        ("memory",),
        ("recording",),
        ("planning",),
        ("costs",),
        ("batch_norm", "checkpoint", "metrics", "trained"),
        ("module",),
        ("stopping",),
        ("following",),
        ("run",),
    ),
}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, at any depth of it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path, *within: str) -> set[str]:
    """The parts of the package, or of a folder in it, that a file imports."""
    front = ".".join(("repflow_pl", *within, ""))
    return {name[len(front) :].split(".")[0] for name in imports(path) if name.startswith(front)}


def files(folder: Path) -> list[Path]:
    """All files of a folder but its door, which may know every part of it."""
    return sorted(path for path in folder.rglob("*.py") if path != folder / "__init__.py")


def part_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).parts[0].removesuffix(".py")


FILES = files(PACKAGE)


def later_imports(path: Path, order: Order, *within: str) -> set[str]:
    """What a file imports though it has a later place."""
    rank = {name: rank for rank, names in enumerate(order) for name in names}
    own = rank[part_of(path, PACKAGE.joinpath(*within))]
    return {name for name in own_imports(path, *within) & set(rank) if rank[name] > own}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    assert not later_imports(path, ORDER)
    folder, *_ = path.relative_to(PACKAGE).parts
    if folder in WITHIN and path != PACKAGE / folder / "__init__.py":
        assert not later_imports(path, WITHIN[folder], folder)


@pytest.mark.parametrize(("folder", "order"), [("", ORDER), *WITHIN.items()])
def test_every_part_has_a_place_in_the_order(folder: str, order: Order) -> None:
    parts = [part_of(path, PACKAGE / folder) for path in files(PACKAGE / folder)]
    assert set(parts) == {name for names in order for name in names}


def test_data_does_not_know_models() -> None:
    paths = files(PACKAGE / "data")
    assert len(paths) > 30
    for path in paths:
        assert not own_imports(path) & {"layers", "backbones", "models"}


def test_models_have_one_way_through_a_backbone() -> None:
    """`features`, whose block 0 scales pixels as pretrained weights expect them; `levels` too goes
    by it."""
    used = {
        node.attr
        for path in (PACKAGE / "models").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("backbone")
    }
    assert used == {"features", "levels", "block", "blocks", "name"}


@pytest.mark.long
def test_only_decode_imports_decord() -> None:
    users = [path.name for path in FILES if any(n.split(".")[0] == "decord" for n in imports(path))]
    assert users == ["decode.py"]


def test_specs_import_nothing_of_the_package() -> None:
    assert not own_imports(PACKAGE / "specs.py")


def loaded_by(*modules: str) -> list[set[str]]:
    """Top-level modules in a fresh interpreter after each of some imports, one after another."""
    say = "print(*{name.split('.')[0] for name in sys.modules})"
    code = "import sys\n" + "".join(f"import {module}\n{say}\n" for module in modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.mark.long
def test_ops_and_layers_need_torch_alone_and_videos_are_shown_without_a_trainer() -> None:
    layer, shown = loaded_by("repflow_pl.layers.flow", "repflow_pl.showing.predict")
    heavy = {"lightning", "torchvision", "pandas", "decord", "wandb", "cv2", "matplotlib", "scipy"}
    assert "torch" in layer and not layer & heavy
    assert not shown & {"lightning", "wandb", "sklearn", "scipy", "pandas"}


@pytest.mark.long
def test_help_is_shown_without_torch_and_tables_are_rendered_without_a_trainer() -> None:
    """And the command line starts without one."""
    modules = ("repflow_pl.__main__", "repflow_pl.cli", "repflow_pl.report.__main__")
    shown, started, rendering = loaded_by(*modules)
    assert not shown & {"torch", "numpy", "av", "cv2", "rich"}
    heavy = {"lightning", "pytorch_lightning", "torch", "torchvision", "decord", "wandb", "cv2"}
    assert not started & heavy and not rendering & heavy
