"""How to add a row, a backbone, a data set and a table: the page is carried out, in a copy."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.blocks import Block, blocks, commands
from tests.conftest import write_clip
from tests.programs import CHECKOUT

PAGE = (CHECKOUT / "docs" / "extend.md").read_text(encoding="utf-8")
PEOPLE = ("ada", "jon", "kim", "noor")


def change(block: Block, folder: Path) -> None:
    """Write the file that a block is, or make the change that it shows, which fits one place."""
    if block.file is not None:
        assert not (folder / block.file).exists()
        (folder / block.file).write_text(block.text.partition("\n")[2], encoding="utf-8")
        return
    header, lines = re.findall(r"\+\+\+ b/(.*)\n((?:[ +-].*\n)+)", block.text)[0]
    before = "".join(f"{line[1:]}\n" for line in lines.splitlines() if line[0] != "+")
    after = "".join(f"{line[1:]}\n" for line in lines.splitlines() if line[0] != "-")
    text = (folder / header).read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{header} is another now: mend docs/extend.md"
    (folder / header).write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with all that the page says, and films beside it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("repflow_pl", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, folder / name, ignore=ignored)
    for block in blocks(PAGE):
        if block.file is not None or block.language == "diff":
            change(block, folder)
    for k, person in enumerate(PEOPLE):
        for gesture, step in (("wave", (2, 0)), ("nod", (0, 2))):
            write_clip(folder / "ROOT" / f"{person}_{gesture}_1.mp4", k, step)
    return folder


def typed(command: str, copy: Path) -> str:
    """What a command of the page prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "REPFLOW_CACHE": str(copy / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, *shlex.split(command, comments=True)[1:]]
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


SHOWN = {
    "python experiments/table_placement.py --list": ["After block 3, 50 iterations"],
    "python experiments/table_placement.py --backbone tiny": ["RGB CNN", "After block 2"],
    "python -m repflow_pl.data verify gestures": ["train", "4", "test"],
    "python experiments/table_placement.py --data gestures": ["After block 5", "runs/"],
    "python experiments/table_kernels.py --list": ["Central differences", "Sobel"],
    "python experiments/all_tables.py": ["kernels: Image gradients to start from", "50 iterations"],
}
"""What each command of the page, by its beginning, prints."""


def check(command: str, copy: Path) -> None:
    (shown,) = [texts for start, texts in SHOWN.items() if command.startswith(start)]
    printed = typed(command, copy)
    assert all(text in printed for text in shown), printed


@pytest.mark.long
def test_what_was_added_is_found(copy: Path) -> None:
    told = list(commands(PAGE))
    assert len(told) == len(SHOWN)
    check(told[-1], copy)


@pytest.mark.slow
def test_the_page_can_be_carried_out(copy: Path) -> None:
    for command in commands(PAGE):
        check(command, copy)


@pytest.mark.slow
def test_what_was_added_can_be_trained(copy: Path) -> None:
    script = "python experiments/table_placement.py --data gestures --data-root ROOT"
    short = "--recipe.epochs 1 --recipe.batch 4 --wandb disabled --rows"
    assert "50 iterations" in typed(f"{script} {short} '50 iterations'", copy)
    assert "After block 2" in typed(f"{script} --backbone tiny {short} 'After block 2'", copy)
    script = script.replace("placement", "kernels")
    assert "Sobel" in typed(f"{script} {short} Sobel", copy)
