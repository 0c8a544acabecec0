"""A weights file says all that is needed, and gives back what was put into it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from repflow_pl.errors import UserError
from repflow_pl.models.build import build_model
from repflow_pl.showing.weights import KEY, Described, Weights, load_weights, save_weights
from repflow_pl.specs import ClipSpec, FlowSpec, LateSpec, ModelSpec, to_dict
from tests.released.test_released import DESCRIBED, hollow, saved
from tests.showing.conftest import CLIP, Trained

MODEL = ModelSpec("narrow", flow=FlowSpec(2, n_iter=3, bottleneck=4), pretrained=True)


def small(classes: int = 3) -> Weights:
    torch.manual_seed(5)
    network = build_model(dataclasses.replace(MODEL, pretrained=False), classes)
    names = tuple("abcdefgh"[:classes])
    return Weights(network.eval(), Described(MODEL, CLIP, names, card="# Card\n\nof a test"))


def clips(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 3, 4, 32, 32), dtype=torch.uint8, generator=generator)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Also of a network that began with weights that are to be had from the net alone."""
    before = small()
    save_weights(tmp_path / "w.safetensors", before)
    after = load_weights(tmp_path / "w.safetensors")
    assert after.described == before.described
    assert torch.equal(after.scores([clips()]).joint, before.scores([clips()]).joint)


def test_anybody_can_read_the_file(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", small())
    with safe_open(str(tmp_path / "w.safetensors"), "pt") as content:
        said = json.loads(content.metadata()[KEY])
        names = set(content.keys())
    assert said["classes"] == ["a", "b", "c"] and said["model"]["flow"]["after_block"] == 2
    assert names == set(small().network.state_dict())


def test_a_run_is_read_by_its_folder_or_its_checkpoint(trained: Trained) -> None:
    by_folder, by_file = load_weights(trained.flow), load_weights(trained.flow / "last.ckpt")
    assert by_folder.described == by_file.described
    assert by_folder.described.classes == trained.videos.classes == ("left", "right")
    assert by_folder.described.clip == CLIP
    assert torch.equal(by_folder.scores([clips()]).joint, by_file.scores([clips()]).joint)
    assert not by_folder.network.training


def test_a_late_fusion_has_the_weights_of_its_members(trained: Trained) -> None:
    weights = load_weights(trained.both)
    assert isinstance(weights.described.model, LateSpec)
    fields = torch.full((2, 2, 3, 32, 32), 130, dtype=torch.uint8)
    joint, members = weights.scores([clips(), fields])
    assert [name for name, _ in members] == [
        "narrow on RGB, flow layer after block 3",
        "narrow on TV-L1",
    ]
    alone = load_weights(trained.flow).scores([clips()]).joint
    torch.testing.assert_close(members[0][1], alone)
    mean = torch.stack([scores.softmax(1) for _, scores in members]).mean(0)
    torch.testing.assert_close(joint.softmax(1), mean)


def test_the_authors_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "hmdb.pt"
    saved(hollow(DESCRIBED["fcf_resnet18"]["state"]), path)
    weights = load_weights(path, iterations=1, classes=())
    assert weights.described.pixels == "1..-1"
    assert weights.described.classes[:2] == ("class 0", "class 1")
    count = len(weights.described.classes)
    named = load_weights(path, iterations=1, classes=[f"n{k}" for k in range(count)])
    assert named.described.classes[-1] == f"n{count - 1}"
    with pytest.raises(UserError, match=f"has {count} classes and 2 names"):
        load_weights(path, iterations=1, classes=["a", "b"])
    with pytest.raises(UserError, match="--iterations"):
        load_weights(path)
    ours = tmp_path / "ours.safetensors"
    save_weights(ours, weights)
    with pytest.raises(UserError, match="leave out --iterations"):
        load_weights(ours, iterations=2)


def test_pixels_are_turned_round_for_the_authors_network() -> None:
    """The network sees 1 - 2x/255 there, 2x/255 - 1 everywhere else."""
    seen: list[Tensor] = []

    class Noting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, clip: Tensor) -> Tensor:
            seen.append(clip)
            return clip.mean((2, 3, 4))

    plain = Weights(Noting(), Described(MODEL, ClipSpec(), ("a", "b", "c")))
    turned = dataclasses.replace(
        plain, described=dataclasses.replace(plain.described, pixels="1..-1")
    )
    plain.scores([clips()])
    turned.scores([clips()])
    torch.testing.assert_close(seen[0], clips().float() / 127.5 - 1)
    torch.testing.assert_close(seen[1], 1 - clips().float() / 127.5)


def spoilt(path: Path, how: str) -> Path:
    """A weights file with one thing wrong."""
    save_weights(path, small())
    state = {name: value.contiguous() for name, value in small().network.state_dict().items()}
    said = to_dict(small().described)
    match how:
        case "cut off":
            path.write_bytes(path.read_bytes()[:-100])
        case "no safetensors":
            path.write_bytes(b"hello")
        case "without a word":
            save_file(state, path)
        case "of another version":
            save_file(state, path, {KEY: json.dumps({**said, "version": 2})})
        case "of another network":
            said["model"]["flow"]["after_block"] = 4
            save_file(state, path, {KEY: json.dumps(said)})
        case "no JSON":
            save_file(state, path, {KEY: "{"})
        case "of a failed training":
            next(iter(state.values())).fill_(torch.nan)
            save_file(state, path, {KEY: json.dumps(said)})
        case "not there":
            path.unlink()
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut off", "is damaged"),
        ("no safetensors", "is damaged"),
        ("without a word", "does not say what network it is of"),
        ("of another version", "another version"),
        ("no JSON", "another version"),
        ("of another network", "not those of the network that it names"),
        ("of a failed training", "has NaN or infinity in .*: its training failed"),
        ("not there", "there are no weights"),
    ],
)
def test_a_file_that_will_not_do_is_a_sentence(how: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as error:
        load_weights(spoilt(tmp_path / "w.safetensors", how))
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_run_that_will_not_do_is_a_sentence(trained: Trained, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(trained.flow.parents[1], runs)
    folder = runs / trained.flow.parent.name / trained.flow.name
    checkpoint = folder / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged or no checkpoint"):
        load_weights(folder)
    checkpoint.unlink()
    with pytest.raises(UserError, match="there is no checkpoint"):
        load_weights(folder)
    for facts in (runs / "data").iterdir():
        facts.unlink()
    with pytest.raises(UserError, match="does not say how its classes are called"):
        load_weights(folder)
    (folder / "spec.json").write_text("{}")
    with pytest.raises(UserError, match="damaged or of another version"):
        load_weights(folder)
    with pytest.raises(UserError, match="is no folder of a run"):
        load_weights(tmp_path)
