"""What a shell completes of the command `repflow`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from repflow_pl.__main__ import COMMANDS, PROGRAMS, main

ASK = r"""
source "$0"
COMP_WORDS=(repflow "$@") COMP_CWORD=$#
_shtab_repflow repflow "${COMP_WORDS[$#]}" "${COMP_WORDS[$#-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""
BASH = shutil.which("bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "repflow"
    with pytest.MonkeyPatch.context() as patch, path.open("w", encoding="utf-8") as file:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    return path


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ([""], " ".join((*COMMANDS, *PROGRAMS))),
        (["pre"], "predict"),
        (["predict", "--t"], "--top"),
        (["table", "pl"], "placement"),
        (["table", "placement", "--wandb", "o"], "offline online"),
        (["table", "placement", "--recipe.ep"], "--recipe.epochs"),
        (["table", "bench_flow", "--pat"], "--patience"),
        (["table", "bench_flow", "--device", "c"], "cpu cuda"),
        (["table", "gpu_check", "--pat"], ""),
        (["table", "runtime", "--ro"], "--rounds"),
        (["table", "runtime", "--recipe"], ""),
        (["data", "v"], "verify"),
        (["data", "verify", "--w"], "--workers"),
        (["report", ""], "wandb html"),
        (["report", "html", "--o"], "--out"),
        (["look", "READ"], "README.md"),
    ],
    ids=str,
)
def test_a_shell_completes_commands_options_and_values(
    typed: list[str], offered: str, script: Path
) -> None:
    given = [str(BASH), "-c", ASK, str(script), *typed]
    told = subprocess.run(given, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert set(told.stdout.split()) - {"null"} == set(offered.split()), told.stderr
