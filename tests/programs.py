"""The suite's commands, run in this process as a shell would run them."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from _pytest.monkeypatch import MonkeyPatch

CHECKOUT = Path(__file__).parents[1]
EXPERIMENTS = CHECKOUT / "experiments"


def run(program: str, arguments: Sequence[str]) -> int:
    """`python experiments/<name>.py ...` or `python -m repflow_pl.<name> ...`: its exit status."""
    with MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a module that is imported already
        patched.setattr(sys, "argv", [program, *arguments])
        try:
            if program.endswith(".py"):
                patched.syspath_prepend(EXPERIMENTS)
                runpy.run_path(str(CHECKOUT / program), run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            return int(ended.code or 0)
    raise AssertionError(f"{program} ended without a status")
