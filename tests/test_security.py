"""Files from elsewhere are data: nothing in them is run, and nothing lands outside its folder."""

from __future__ import annotations

import ast
import io
import re
import tarfile
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from repflow_pl.data.upkeep.unpack import import_archive
from repflow_pl.errors import UserError

PACKAGE = Path(__file__).parents[1] / "repflow_pl"
SOURCES = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "experiments").rglob("*.py")]

WEIGHTS_ONLY = {"load", "fit", "get_state_dict", "load_from_checkpoint", "load_state_dict_from_url"}
"""Calls that unpickle unless they are told `weights_only=True`: of torch and of a Trainer."""
OWNERS = {"torch", "trainer", "weights", "hub"}
NEVER = {"extractall", "unpack_archive", "eval", "exec", "system"}
OWN_PIPE = "isolated.py"
"""Reads pickles from the pipe to a child of its own, never from a file."""
OWN_ZIP = "unpack.py"
"""`ZipFile.extractall` cuts `..` and roots off the names of its members by itself."""


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def names(call: ast.Call) -> tuple[str, str]:
    """(what a function is an attribute of, its name); the first is empty for a plain name."""
    if isinstance(call.func, ast.Attribute):
        return ast.unparse(call.func.value).rpartition(".")[2], call.func.attr
    return "", call.func.id if isinstance(call.func, ast.Name) else ""


@pytest.mark.long
def test_everything_that_unpickles_is_told_to_take_weights_only() -> None:
    found = 0
    for path in SOURCES:
        for call in calls(path):
            owner, name = names(call)
            unpickles = owner in ("pickle", "joblib") and name in ("load", "loads")
            assert not unpickles or path.name == OWN_PIPE, path
            if name in WEIGHTS_ONLY and (owner in OWNERS or name not in ("load", "fit")):
                given = {word.arg: ast.unparse(word.value) for word in call.keywords}
                assert given.get("weights_only") == "True", f"{path}, line {call.lineno}"
                found += 1
    assert found >= 4, "the test no longer sees the calls"


@pytest.mark.long
def test_nothing_unpacks_or_evaluates_what_it_is_given() -> None:
    for path in SOURCES:
        for call in calls(path):
            owner, name = names(call)
            plain = name in ("eval", "exec") and owner != ""  # a module's eval() is another thing
            known = path.name == OWN_ZIP and name == "extractall"
            assert name not in NEVER or plain or known, f"{path}, line {call.lineno}"
            assert "allow_pickle" not in {word.arg for word in call.keywords}, path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../out.avi"),
        member("hug/../../out.avi"),
        member("/out.avi"),
        member("hug/set1_seq01_000.avi", tarfile.SYMTYPE, "../../secret"),
        member("hug/set1_seq01_000.avi", tarfile.LNKTYPE, "../../secret"),
        member("hug", tarfile.SYMTYPE, ".."),
        member("hug/set1_seq01_000.avi", tarfile.FIFOTYPE),
        member("hug/set1_seq01_000.avi", tarfile.CHRTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_an_archive_that_wants_out_leaves_nothing(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    archive, root = tmp_path / "bad.tar", tmp_path / "inside" / "root"
    with tarfile.open(archive, "w") as tar:
        good = member("kick/set1_seq01_000.avi")
        good.size = 3
        tar.addfile(good, io.BytesIO(b"abc"))
        tar.addfile(bad)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="do not use it"):
        import_archive(archive, root)
    assert set(tmp_path.rglob("*")) - before <= {root.parent}


def test_releases_of_lightning_that_carried_malware_are_not_installed() -> None:
    """Nor may an older one, which loads checkpoints less safely."""
    asked = [
        Requirement(line)
        for line in requires("repflow_pl") or ()
        if re.match(r"(pytorch-)?lightning\b", line)
    ]
    assert asked
    for each in asked:
        refused = [v for v in ("2.5.9", "2.6.2", "2.6.3") if v in each.specifier]
        assert not refused and version("lightning") in each.specifier
