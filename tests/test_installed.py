"""The layers' own tests run on a machine that has torch, numpy and pytest, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import all_but, without

HERE = Path(__file__).parent


@pytest.mark.long
def test_the_tests_of_ops_and_layers_need_torch_alone(tmp_path: Path) -> None:
    """All their modules are imported; those of one, and a quick test each of two, run."""
    hidden = all_but("torch", "numpy", "pytest")
    assert hidden >= {"av", "cv2", "lightning", "numba", "pandas", "scipy", "torchvision", "wandb"}
    environment = {
        **without(hidden, tmp_path),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they are hidden too
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    options = ["-vv", "-p", "no:cacheprovider", "tests/ops", "tests/layers"]
    chosen = "test_flow_golden or test_constant_frames_have or test_a_tensor_elsewhere"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-k", chosen],
        env=environment,
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("ops/test_flow.py", "ops/test_flow_cuda.py", "layers/test_flow_golden.py"):
        assert f"tests/{name}::" in done.stdout
    of_layers = [line for line in done.stdout.splitlines() if "test_flow_golden.py::" in line]
    assert of_layers and all("PASSED" in line for line in of_layers)
