"""The data benchmark runs and prints a rate for every setting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "experiments" / "bench_data.py"


def test_every_setting_has_a_line(video_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--data", "folder", "--data-root", str(video_folder)]
    command += ["--frames", "4", "--workers", "1", "--clips", "24", "--batch", "4", "--size", "56"]
    done = subprocess.run(
        command,
        env={**os.environ, "REPFLOW_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"^(decord|pyav) +4 +1 +[\d.]+ +([\d.]+) +[\d.]+$", done.stdout, re.M)
    assert [decoder for decoder, _ in lines] == ["decord", "pyav"]
    assert all(float(floor) > 0 for _, floor in lines)
    assert "from the cache" in done.stdout
