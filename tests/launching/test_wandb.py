"""Whole sweeps, as a user starts them, with a W&B that fails."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repflow_pl.training.following.wandb_client import LEFT_OUT
from tests.wandb_server import Failure, serving

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("failure", "devices"), [("silent", 1), (500, 2)])
def test_a_sweep_is_made_and_says_once_that_wandb_is_left_out(
    failure: Failure, devices: int, video_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    """The server tells who the user is, and fails where a run is to begin."""
    out = tmp_path / "out"
    with serving(failure, tells_the_user=True) as server:
        done = subprocess.run(
            [
                *(sys.executable, str(CHECKOUT / "experiments" / "table_placement.py")),
                *("--data", "folder", "--data-root", str(video_folder), "--out", str(out)),
                *("--rows", "RGB CNN", "--seeds", "3"),
                *("--wandb", "online", "--devices", str(devices)),
            ],
            env={
                **os.environ,
                **server.environment,
                "HOME": str(tmp_path),
                "REPFLOW_CACHE": str(shared_cache),
            },
            cwd=CHECKOUT,
            text=True,
            capture_output=True,
            timeout=880,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    said = [line for line in done.stderr.splitlines() if "W&B" in line]
    assert len(said) == 1 and said[0].startswith(LEFT_OUT), done.stderr
    (path,) = out.glob("tables/yours/folder-*/placement.csv")
    with path.open(encoding="utf-8") as stream:
        states = {row["row"]: row["state"] for row in csv.DictReader(stream)}
    assert states["RGB CNN"] == "done", states
    assert len(list((out / "wandb").glob("offline-run-*"))) == 3 + 1, "three runs and a table"
