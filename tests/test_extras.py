"""Extras: pyproject.toml, the imports and the sentences agree, and each sentence is said."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repflow_pl.extras import (
    EXTRAS,
    VIDEO,
    Extra,
    NotInstalled,
    command,
    extra_of,
    is_installed,
    load,
    needs,
)
from tests.installed import all_but, extras_of, packages_of_modules, without
from tests.programs import run
from tests.test_architecture import FILES, imports

CHECKOUT = Path(__file__).parents[1]
CORE = {"repflow_pl", "torch", "numpy", *sys.stdlib_module_names}
OPTIONAL = {"cuda", "triton"}
"""Come with torch where there are any."""
TABLE = "experiments/table_placement.py"


def modules(extra: Extra) -> set[str]:
    return {*extra.modules, *extra.sometimes}


def in_pyproject() -> dict[str, set[str]]:
    """The modules of each extra's own packages, as pyproject.toml names them."""
    by_package: dict[str, set[str]] = {}
    for module, packages in packages_of_modules().items():
        for package in packages:
            by_package.setdefault(package.lower(), set()).add(module)
    found = {}
    for name, requirements in extras_of().items():
        packages = [re.split(r"[^\w.-]", each)[0] for each in requirements]
        known = [by_package[p.lower()] for p in packages if p.lower() in by_package]
        found[name] = set().union(*known)
    return found


@pytest.mark.long
def test_an_extra_brings_what_is_imported() -> None:
    brought = in_pyproject()
    assert brought.keys() >= {extra.name for extra in EXTRAS}
    for extra in EXTRAS:
        own = modules(extra) - {"docstring_parser", "shtab"}  # jsonargparse brings them
        own = {module for module in own if is_installed(module)}
        if extra.name == "train":
            own -= set.union(*(modules(each) for each in EXTRAS if each.name == "video"))
        assert own <= brought[extra.name], extra.name


@pytest.mark.long
def test_what_is_imported_is_in_an_extra() -> None:
    named = set().union(*map(modules, EXTRAS))
    used = {name.split(".")[0] for path in FILES for name in imports(path)} - CORE - OPTIONAL
    assert used <= named | {"filelock"}, "name it in repflow_pl/extras.py and pyproject.toml"


def test_the_smallest_extra_is_named() -> None:
    assert extra_of("rich") == extra_of("av") == "video"
    assert extra_of("pandas") == "train"


@pytest.mark.parametrize(
    "extra", [extra for extra in EXTRAS if extra.modules], ids=lambda e: e.name
)
def test_an_extra_that_is_missing_is_one_sentence(
    extra: Extra, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(extra.name)
    first, *others = extra.modules
    monkeypatch.setitem(sys.modules, first, None)
    told = f"{first} is not installed; run: pip install 'repflow-pl[{extra.name}]'."
    with pytest.raises(NotInstalled, match=f"^{re.escape(told)}$"):
        needs(extra.name)
    with pytest.raises(SystemExit) as ended:
        needs(extra.name, program=True)
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {told}\n"
    if others:
        monkeypatch.setitem(sys.modules, others[-1], None)
        with pytest.raises(NotInstalled, match=f"^{first} and {others[-1]} are not installed; run"):
            needs(extra.name)


def test_a_package_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("numpy").__name__ == "numpy"
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"^av is not installed; run: .*\[video\]'\.$"):
        load("av")


# --- programs, where packages are missing


@pytest.fixture(scope="module")
def bare() -> set[str]:
    """What the layer alone does not bring."""
    return all_but("torch", "numpy")


def said(tmp_path: Path, hidden: set[str], *arguments: str) -> tuple[int, str]:
    """Exit status and last words of a program that does not find these modules."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        env={**without(hidden, tmp_path), "REPFLOW_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "extra"),
    [
        ([TABLE, "--list"], "train"),
        (["experiments/bench_flow.py", "--help"], "train"),
        (["-m", "repflow_pl.report"], "train"),
        (["-m", "repflow_pl", "--help"], "video"),
        (["-m", "repflow_pl.data", "--help"], "video"),
        (["-m", "repflow_pl.released", "--help"], "video"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-2 if "-" in value[-1] else -1],
)
def test_a_program_says_what_it_needs(
    program: list[str], extra: str, bare: set[str], tmp_path: Path
) -> None:
    status, text = said(tmp_path, bare, *program)
    assert status == 2 and text.count("\n") == 1
    assert text.startswith("error: ") and text.endswith(f"not installed; run: {command(extra)}.\n")


@pytest.mark.long
def test_a_part_of_the_command_says_what_it_needs(tmp_path: Path) -> None:
    """Where videos can be read and nothing can be trained."""
    (train,) = (set(extra.modules) for extra in EXTRAS if extra.name == "train")
    hidden = train - set(VIDEO.modules)
    for part in (["report", "html"], ["curves", "runs"], ["audit", "."], ["table", "why"]):
        status, text = said(tmp_path, hidden, "-m", "repflow_pl", *part)
        assert status == 2 and text.count("\n") == 1, part
        assert text.startswith("error: ") and text.endswith(f"run: {command('train')}.\n"), part


def test_a_part_of_the_package_says_what_it_needs(bare: set[str], tmp_path: Path) -> None:
    parts = {"backbones": "video", "data.index": "video", "training.run": "train"}
    code = f"""
import importlib, sys
from repflow_pl.extras import NotInstalled
for part in {list(parts)}:
    try:
        importlib.import_module("repflow_pl." + part)
    except NotInstalled as error:
        print(error, file=sys.stderr)
"""
    status, text = said(tmp_path, bare, "-c", code)
    assert status == 0
    for (part, extra), line in zip(parts.items(), text.splitlines(), strict=True):
        assert line.endswith(f"not installed; run: {command(extra)}."), part


@pytest.mark.long
def test_tvl1_that_is_missing_is_said_before_anything_is_trained(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    monkeypatch.setitem(sys.modules, "cv2", None)
    asked = ["--data", "folder", "--data-root", str(video_folder), "--rows", "RGB CNN,Flow CNN"]
    assert run(TABLE, [*asked, "--wandb", "disabled", "--out", str(tmp_path)]) == 2
    text = capsys.readouterr().err
    assert text.endswith(f"cv2 is not installed; run: {command('tvl1')}.\n")
    assert not list((tmp_path / "runs").glob("*/seed0"))


def test_wandb_that_is_missing_is_done_without_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "from repflow_pl.training.following.tracking import wandb_mode as m; print(m(None))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=without({"wandb"}, tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "disabled\n", done.stderr

    for name in ("wandb", "tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    missing = f"error: wandb is not installed; run: {command('wandb')}.\n"
    out = ["--out", str(tmp_path)]
    assert run(TABLE, ["--wandb", "offline", *out]) == 2
    assert capsys.readouterr().err == missing
    assert run(TABLE, ["--tensorboard", *out]) == 2
    brings = command("tensorboard")
    assert capsys.readouterr().err == f"error: tensorboard is not installed; run: {brings}.\n"
    assert run("repflow_pl.report", ["wandb", "lab/repflow"]) == 2
    assert capsys.readouterr().err == missing


# --- a system without POSIX signals

AS_ON_WINDOWS = """
import signal, sys
import filelock, torch, torchvision  # have code of their own for it
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGCHLD", "setitimer", "alarm"):
    delattr(signal, name)
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
from repflow_pl import FlowStack, RepFlow
from repflow_pl.models.build import build_model
from repflow_pl.released.load import load_released
from repflow_pl.specs import FlowSpec, ModelSpec
clip = torch.randn(1, 8, 4, 10, 12)
print(*RepFlow(8, n_iter=2)(clip).shape, *FlowStack(8, n_iter=2)(clip).shape)
network = build_model(ModelSpec("narrow", flow=FlowSpec(3, n_iter=2)), 7)
print(*network(torch.randn(1, 3, 4, 32, 32)).shape)
"""


@pytest.mark.long
def test_without_posix_the_layer_works_and_programs_say_where_they_do(tmp_path: Path) -> None:
    code = AS_ON_WINDOWS + "import repflow_pl.cli"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],  # Numba may have to compile
        env=without((), tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1 8 3 10 12 1 8 2 10 12\n1 7\n", done.stderr
    told = "error: videos are read and networks trained on Linux and macOS; on Windows run this in "
    assert (done.returncode, done.stderr) == (2, f"{told}WSL.\n")


PRESSED = """
import os, signal, sys

class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == "repflow_pl.report.table":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # deaf in the background of a shell
sys.meta_path.insert(0, Pressed())
import repflow_pl.cli
print("imported")
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
def test_ctrl_c_while_a_program_is_imported_ends_it_without_a_word() -> None:
    done = subprocess.run([sys.executable, "-c", PRESSED], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_thread_may_import_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python lets the main thread alone say what a signal does."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)

    def imports() -> str:
        with needs("train", program=True):
            return "imported"

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(imports).result() == "imported"
