"""The layers' own tests run on a machine that has torch, numpy and pytest, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.installed import all_but, without

HERE = Path(__file__).parent


def test_the_tests_of_ops_and_layers_need_torch_alone(tmp_path: Path) -> None:
    hidden = all_but("torch", "numpy", "pytest")
    assert hidden >= {"av", "cv2", "lightning", "numba", "pandas", "scipy", "torchvision", "wandb"}
    environment = {
        **without(hidden, tmp_path),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they are hidden too
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }

    def pytest(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            env=environment,
            cwd=HERE.parent,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    collected = pytest("--collect-only", "tests/ops", "tests/layers")
    for name in ("ops/test_flow.py", "ops/test_flow_cuda.py", "layers/test_flow_golden.py"):
        assert f"tests/{name}::" in collected
    assert "skipped" not in pytest("tests/layers/test_flow_golden.py")
