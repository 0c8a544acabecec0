"""What is installed: the layer where only torch and numpy are, and how soon it is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import repflow_pl
from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.ops import representation_flow
from tests.installed import all_but, without

SECONDS = 0.3
"""How long the layer's names may take to import, once torch is there."""

IMPORT = """
import json, time
import torch
begin = time.process_time()  # not the clock: other programs may be running
from repflow_pl import FlowStack, RepFlow, representation_flow
seconds = time.process_time() - begin
torch.manual_seed(0)
layer = RepFlow(8, bottleneck=4, n_iter=3)
clip = torch.randn(2, 8, 4, 10, 12)
stacked = FlowStack(8, bottleneck=4, n_iter=3)(clip)
print(json.dumps({"seconds": seconds, "shapes": [layer(clip).shape, stacked.shape]}))
"""


def test_the_layer_needs_torch_and_numpy_and_is_there_at_once(tmp_path: Path) -> None:
    environment = without(all_but("torch", "numpy"), tmp_path)

    def imported() -> dict[str, object]:
        command = [sys.executable, "-W", "error::ImportWarning", "-c", IMPORT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    first, second = imported(), imported()  # the first may have to compile the modules
    assert second["shapes"] == [[2, 8, 3, 10, 12], [2, 8, 2, 10, 12]]
    assert min(first["seconds"], second["seconds"]) < SECONDS  # type: ignore[call-overload]


def test_the_package_names_what_it_is_for() -> None:
    assert repflow_pl.RepFlow is RepFlow
    assert repflow_pl.FlowStack is FlowStack
    assert repflow_pl.representation_flow is representation_flow
    assert set(repflow_pl.__all__) <= set(dir(repflow_pl))
    with pytest.raises(AttributeError, match="no attribute 'RepFlov'"):
        _ = repflow_pl.RepFlov


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(repflow_pl.__file__).parent / "py.typed").is_file()
