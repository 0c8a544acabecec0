"""The authors' networks give their logits; whatever else is in a file is refused in one sentence.

The weights of tests/golden/networks.json follow a rule of each tensor's name, so that a tensor in
another's place would show, and nothing large is stored.
"""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import FlowIteration
from repflow_pl.released.__main__ import main
from repflow_pl.released.load import FORMAT, convert, load_released
from repflow_pl.released.names import released_names
from repflow_pl.released.networks import PadSame, ReleasedNetwork, ReleasedSpec

GOLDEN = Path(__file__).parents[1] / "golden"
DESCRIBED = json.loads((GOLDEN / "networks.json").read_text(encoding="utf-8"))

# float32 in the authors' code, whatever they are turned into later.
INITIAL = {"t": np.float32(0.3), "l": np.float32(0.15), "a": np.float32(0.25)}


def by_rule(name: str, shape: list[int]) -> Tensor:
    """The tensor of that name in float64."""
    size = int(np.prod(shape))
    wave = np.sin(0.7390851 * np.arange(size) + zlib.crc32(name.encode()) % 997).reshape(shape)
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.tensor(0)
    if last == "running_mean":
        values = 0.1 * wave
    elif last == "running_var":
        values = 1 + 0.2 * np.abs(wave)
    elif last in INITIAL:
        values = float(INITIAL[last]) + 0.01 * wave
    elif last.startswith(("img_grad", "f_grad", "div")):
        taps = np.array([-0.5, 0, 0.5] if last.startswith("img_grad") else [-1.0, 1.0])
        values = (taps[:, None] if shape[-1] == 1 else taps) + 0.01 * wave
    elif len(shape) >= 2:
        values = wave * np.sqrt(2 / np.prod(shape[1:]))
    elif last == "weight":
        values = 1 + 0.1 * wave
    else:
        values = 0.1 * wave
    return torch.from_numpy(values)


def golden_clip(frames: int, side: int) -> Tensor:
    k = np.arange(3 * frames * side * side).reshape(1, 3, frames, side, side)
    t, y, x = np.ogrid[:frames, :side, :side]
    return torch.from_numpy(0.5 * (np.sin(0.011 * k) + np.sin(0.9 * t + 0.21 * y + 0.13 * x)))


def golden_scores(name: str) -> Tensor:
    with np.load(GOLDEN / "networks.npz") as arrays:
        return torch.from_numpy(arrays[name]).flatten(1)


def scores(net: nn.Module, name: str) -> Tensor:
    with torch.no_grad():
        out: Tensor = net(golden_clip(DESCRIBED[name]["clip_t"], DESCRIBED[name]["clip_size"]))
    return out


def golden_state(name: str) -> dict[str, Tensor]:
    return {key: by_rule(key, shape) for key, shape in DESCRIBED[name]["state"].items()}


def hollow(shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    """A state dict of these shapes whose file is small: every tensor is one zero, repeated."""
    return {name: torch.zeros(()).expand(tuple(shape)) for name, shape in shapes.items()}


def saved(content: object, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "iterations"), [("fcf_resnet18", 5), ("fcf_resnet50", 10)]
)  # kinetics_resnet50's are asked once it has been read and converted, below
def test_logits_are_the_authors(name: str, iterations: int | None, tmp_path: Path) -> None:
    net = load_released(saved(golden_state(name), tmp_path / "released.pt"), iterations)
    assert net.spec.name == name
    assert not net.training
    found = scores(net, name)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, golden_scores(name), rtol=0, atol=1e-8)


@pytest.mark.long
def test_a_converted_file_is_the_same_network(tmp_path: Path) -> None:
    name = "kinetics_resnet50"
    source = saved(golden_state(name), tmp_path / "released.pt")
    converted = convert(source, tmp_path / "new" / "ours.pt")
    assert not converted.training
    loaded = load_released(tmp_path / "new" / "ours.pt")
    assert loaded.spec == converted.spec == ReleasedSpec("kinetics", 50, 400, n_iter=10)
    torch.testing.assert_close(scores(loaded, name), golden_scores(name), rtol=0, atol=1e-8)
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(converted.state_dict()[key], tensor), key
    # And once more: a file of ours converts to itself.
    again = convert(tmp_path / "new" / "ours.pt", tmp_path / "again.pt").state_dict()
    for key, tensor in converted.state_dict().items():
        assert torch.equal(again[key], tensor), key
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["ours.pt"]


def test_files_of_old_and_parallel_trainings(tmp_path: Path) -> None:
    """DataParallel's prefix, PyTorch's old format, scalars that were not trained, no counters."""
    state = {
        f"module.{key}": torch.full(shape, 0.5)
        for key, shape in DESCRIBED["fcf_resnet18"]["state"].items()
        if key.rpartition(".")[2] not in ("t", "l", "a", "num_batches_tracked")
    }
    path = saved(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    net = load_released(path, iterations=3)
    assert net.spec == ReleasedSpec("fcf", 18, 51, n_iter=3)
    flows = [module for module in net.modules() if isinstance(module, FlowIteration)]
    scalars = flows[1].theta, flows[1].lam, flows[1].tau
    assert [scalar.item() for scalar in scalars] == list(INITIAL.values())
    assert all(flow.n_iter == 3 and bool((flow.div_x == 0.5).all()) for flow in flows)
    assert net.head.weight.dtype == torch.float32


@pytest.mark.long
def test_given_iterations_hold(tmp_path: Path) -> None:
    path = saved(hollow(DESCRIBED["kinetics_resnet50"]["state"]), tmp_path / "released.pt")
    assert load_released(path).flow.iteration.n_iter == 10
    assert load_released(path, iterations=7).flow.iteration.n_iter == 7
    convert(path, tmp_path / "ours.pt", iterations=7)
    assert load_released(tmp_path / "ours.pt").flow.iteration.n_iter == 7
    assert load_released(tmp_path / "ours.pt", iterations=2).spec.n_iter == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "spec",
    [
        ReleasedSpec("fcf", 34, 150, n_iter=10),
        ReleasedSpec("fcf", 50, 51, n_iter=10, in_channels=2),
        ReleasedSpec("fcf", 101, 400, n_iter=10),
        ReleasedSpec("kinetics", 101, 12, n_iter=10),
    ],
    ids=lambda spec: spec.name,
)
def test_other_depths_classes_and_channels_are_recognised(
    spec: ReleasedSpec, tmp_path: Path
) -> None:
    with torch.device("meta"):
        names = released_names(ReleasedNetwork(spec))
    path = saved(hollow({e.name: e.shape for e in names.values()}), tmp_path / "released.pt")
    assert load_released(path, iterations=10).spec == spec


@pytest.mark.parametrize("size", range(2, 9))
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_is_tensorflows(size: int, stride: int) -> None:
    """The formula of TensorFlow's documentation of padding="SAME", kernel 3."""
    out = -(-size // stride)
    total = max((out - 1) * stride + 3 - size, 0)
    before = total // 2
    padded = PadSame(stride, time=True)(torch.ones(1, 1, size, size, size))
    for dim in (2, 3, 4):
        line = padded.sum(tuple(d for d in range(5) if d != dim)) > 0
        wanted = [False] * before + [True] * size + [False] * (total - before)
        assert line.tolist() == wanted
    assert PadSame(stride)(torch.ones(1, 1, size, size, size)).shape[2] == size


@pytest.mark.parametrize("family", ["fcf", "kinetics"])
def test_eleven_frames_are_enough_and_ten_are_not(family: Any) -> None:
    depth = 18 if family == "fcf" else 50
    net = ReleasedNetwork(ReleasedSpec(family, depth, 5, n_iter=1)).eval()
    with torch.no_grad():
        assert net(torch.randn(1, 3, 11, 32, 32)).shape == (1, 5)
    with pytest.raises(ValueError, match="needs clips of 11 frames or more, not 10"):
        net(torch.randn(1, 3, 10, 32, 32))


def without(part: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {key: value for key, value in state.items() if part not in key}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("fc.bias"), r"looks like fcf_resnet50 .*but lacks fc\.bias\.$"),
        (without("fc.weight"), r"but lacks fc\.weight; it has fc\.bias \[51\] in place of \[1\]"),
        (without("layer3.5."), r"fcf_resnet50 .*lacks layer3\.5\.conv1\.weight.* and 12 more\.$"),
        (without("flow_layer2."), r"lacks flow_layer2\.img_grad, .* and 3 more"),
        (lambda s: s | {"extra": torch.ones(2)}, r"but has the unknown extra\.$"),
        (
            lambda s: s | {"flow_layer.f_grad": torch.zeros(32, 1, 2, 1)},
            r"has flow_layer\.f_grad \[32, 1, 2, 1\] in place of \[32, 1, 1, 2\]\.$",
        ),
        (without("layer"), r"holds weights of another network: .*but flow_cmp\.weight, "),
        (lambda s: {}, r"holds no weights"),
        (lambda s: s | {"epoch": 3}, r"is no state dict: 'epoch' is a int and no tensor"),
        (lambda s: [s], r"is no state dict but a list"),
        (lambda s: s, r"do not tell the iterations .*--iterations"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    change: Callable[[dict[str, Tensor]], object], sentence: str, tmp_path: Path
) -> None:
    state = hollow(DESCRIBED["fcf_resnet50"]["state"])
    path = saved(change(state), tmp_path / "file.pt")
    with pytest.raises(UserError, match=sentence) as caught:
        load_released(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({FORMAT: 2}, "another version"),
        ({"network": {"family": "fcf", "deep": 1}}, "another version"),
        ({"network": {"family": "fcf", "depth": 19, "classes": 1, "n_iter": 1}}, "another version"),
        ({"network": 3}, "another version"),
        ({"state": {"head.bias": torch.zeros(400)}}, "should hold kinetics_resnet50, but lacks"),
        ({"state": 3}, "another version"),
        ({"state": {}}, "holds no weights"),
    ],
)
def test_a_changed_file_of_ours_is_one_sentence(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    spec = ReleasedSpec("kinetics", 50, 400, n_iter=1)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in ReleasedNetwork(spec).state_dict().items()}
    whole = {FORMAT: 1, "network": dataclasses.asdict(spec), "state": hollow(shapes)}
    if change == {FORMAT: 2}:  # once: but for its change it would be read
        assert load_released(saved(whole, tmp_path / "ours.pt")).spec == spec
    with pytest.raises(UserError, match=sentence):
        load_released(saved(whole | change, tmp_path / "ours.pt"))


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.mark), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_not_executed(zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    state = hollow(DESCRIBED["fcf_resnet18"]["state"]) | {"fc.bias": Payload(mark)}
    path = saved(state, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="holds more than weights, and was not loaded"):
        load_released(path, iterations=5)
    assert not mark.exists()
    torch.load(path, weights_only=False)["fc.bias"].close()
    assert mark.exists(), "the payload is a dud, and the test proves nothing"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(zipped: bool, part: float, tmp_path: Path) -> None:
    state = hollow(DESCRIBED["fcf_resnet18"]["state"])
    path = saved(state, tmp_path / "cut.pt", _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError, match="is damaged"):
        load_released(path, iterations=5)


def test_files_that_are_no_weights_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        load_released(tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        load_released(tmp_path)
    noise = tmp_path / "noise.pt"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(UserError, match="is damaged"):
        load_released(noise)
    with pytest.raises(UserError, match="0 iterations or more, not -1"):
        load_released(noise, iterations=-1)


@pytest.mark.long
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(hollow(DESCRIBED["fcf_resnet18"]["state"]), tmp_path / "released.pt")
    target = tmp_path / "ours.pt"
    assert main([str(source), str(target)]) == 2
    told = capsys.readouterr()
    assert "--iterations" in told.err and not told.out and not target.exists()
    assert main([str(source), str(target), "--iterations", "5"]) == 0
    assert f"wrote {target}: fcf_resnet18, 51 classes, 5 iterations\n" == capsys.readouterr().out
    assert load_released(target).spec == ReleasedSpec("fcf", 18, 51, n_iter=5)


def test_the_command_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["released", "none.pt", "ours.pt"])
    monkeypatch.delitem(sys.modules, "repflow_pl.released.__main__")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("repflow_pl.released", run_name="__main__")
    assert capsys.readouterr().err == "error: cannot read none.pt: No such file or directory.\n"
