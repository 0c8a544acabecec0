"""torch.hub finds the layer and the networks in a checkout, also where only torch is."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repflow_pl import FlowStack, RepFlow
from repflow_pl.backbones import backbone_names
from repflow_pl.errors import UserError
from repflow_pl.models.placement import ClipClassifier
from tests.installed import all_but, without
from tests.programs import CHECKOUT


def load(name: str, **options: object) -> torch.nn.Module:
    model: torch.nn.Module = torch.hub.load(str(CHECKOUT), name, source="local", **options)
    return model


def test_what_there_is_says_what_it_is() -> None:
    known = runpy.run_path(str(CHECKOUT / "hubconf.py"))
    names = {name for name, value in known.items() if callable(value) and not name.startswith("_")}
    assert names == {"flow_stack", "network", "repflow"} and known["dependencies"] == ["torch"]
    for name in names:
        assert "[B, " in known[name].__doc__


def test_the_layers_are_those_of_the_package() -> None:
    layer = load("repflow", channels=8, bottleneck=4, n_iter=3)
    stack = load("flow_stack", channels=8, layers=3, bottleneck=4, n_iter=3)
    assert type(layer) is RepFlow and type(stack) is FlowStack
    clip = torch.randn(2, 8, 5, 9, 7)
    assert layer(clip).shape == (2, 8, 4, 9, 7) and stack(clip).shape == (2, 8, 2, 9, 7)


@pytest.mark.parametrize("backbone", backbone_names())
def test_a_network_of_every_backbone_has_the_layer(backbone: str) -> None:
    with torch.device("meta"):
        network = load("network", backbone=backbone, classes=7, after_block=1, n_iter=5)
    assert isinstance(network, ClipClassifier) and isinstance(network.flow, RepFlow)
    assert network.flow.iteration.n_iter == 5 and network.head.out_features == 7


def test_a_network_answers() -> None:
    network = load("network", backbone="narrow", classes=7).eval()
    assert network(torch.randn(2, 3, 4, 32, 32)).shape == (2, 7)
    plain = load("network", backbone="narrow", classes=7, after_block=None)
    assert isinstance(plain, ClipClassifier) and plain.flow is None
    with pytest.raises(UserError, match="did you mean narrow"):
        load("network", backbone="narow", classes=7)


@pytest.mark.long
def test_the_layer_is_loaded_where_only_torch_is(tmp_path: Path) -> None:
    code = f"""
import torch
load = lambda name, **options: torch.hub.load({str(CHECKOUT)!r}, name, source="local", **options)
print(*load("repflow", channels=8, n_iter=1)(torch.randn(1, 8, 3, 9, 7)).shape)
load("network")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=without(all_but("torch", "numpy"), tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1 8 2 9 7\n"
    assert "torchvision are not installed; run: pip install 'repflow-pl[video]'." in done.stderr
