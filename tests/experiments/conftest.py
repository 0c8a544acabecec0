"""The scripts of experiments/ and their benchmarks can be imported."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "experiments")]
