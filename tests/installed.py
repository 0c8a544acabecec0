"""What a program does where fewer packages are installed than here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it
    import tomli as tomllib

# Python imports a module of this name before all others, also in the processes that are started.
HOOK = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {names!r}
        return None if hidden else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


def without(names: Iterable[str], folder: Path) -> dict[str, str]:
    """An environment whose Python finds none of these modules; `folder` gets what makes it so."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK.format(names=set(names)))
    paths = [str(folder), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def all_but(*kept: str) -> set[str]:
    """The modules of all installed packages but these and what they need."""
    needed: set[str] = set()
    todo = list(kept)
    while todo:
        name = _plain(todo.pop())
        if name in needed:
            continue
        needed.add(name)
        try:
            requirements = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:  # of another system or version of Python
            continue
        plain = (text for text in requirements if "extra ==" not in text)
        todo += [found[0] for text in plain if (found := re.match(r"[\w.-]+", text))]
    return {
        module
        for module, packages in packages_of_modules().items()
        if not needed.intersection(map(_plain, packages)) and module != "repflow_pl"
    }


def packages_of_modules() -> dict[str, list[str]]:
    """The installed packages that each module comes from: `metadata.packages_distributions`, which
    in Python 3.10 knows those alone that list their modules."""
    found: dict[str, list[str]] = {}
    for package in metadata.distributions():
        listed = (package.read_text("top_level.txt") or "").split()
        files = [each for each in package.files or () if each.suffix == ".py"]
        for module in {*listed} or {each.parts[0].removesuffix(".py") for each in files}:
            found.setdefault(module, []).append(package.metadata["Name"])
    return found


def extras_of() -> dict[str, list[str]]:
    """The requirements of each extra in pyproject.toml."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    lists: dict[str, list[str]] = tomllib.loads(text)["project"]["optional-dependencies"]
    return lists


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
