"""Exported files give the network's scores to whoever runs them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from repflow_pl.__main__ import main
from repflow_pl.errors import UserError
from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.showing import export as exporting
from repflow_pl.showing.export import ENDINGS, exported, random_clips
from repflow_pl.showing.weights import KEY, Weights, load_weights, save_weights
from tests.showing.conftest import CLIP, Trained
from tests.showing.test_weights import small

# A network is traced twice, which a busy machine is long at.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

ELSEWHERE = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
clips, expected = torch.load(sys.argv[2])
for clip, scores in zip(clips, expected):
    torch.testing.assert_close(program(clip), scores, atol=1e-4, rtol=1e-4)
assert not any(name.startswith("repflow_pl") for name in sys.modules)
"""


@pytest.mark.slow
def test_a_pt2_runs_where_this_package_is_not(tmp_path: Path) -> None:
    """In another process, on clips of other lengths and batches than it was made with."""
    weights = small()
    found = exported(weights, tmp_path / "w.pt2", exporting._as_torch)
    assert found.any_frames and found.apart < 1e-4
    clips = [
        random_clips(weights.described, frames, batch)[0] for frames, batch in ((4, 1), (9, 3))
    ]
    scores = [weights.scores([clip]).joint for clip in clips]
    torch.save((clips, scores), tmp_path / "asked.pt")
    files = [str(tmp_path / "w.pt2"), str(tmp_path / "asked.pt")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *files], check=True, cwd=tmp_path)


@pytest.mark.slow
def test_an_onnx_file_says_what_it_is_and_takes_longer_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    weights = small()
    save_weights(tmp_path / "w.safetensors", weights)
    out = tmp_path / "w.onnx"
    arguments = ["export", str(tmp_path / "w.safetensors"), "--to", "onnx", "--out", str(out)]
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "uint8 [B, 3, T, 48, 48] with T from 4 on -> scores [B, 3]" in told.out
    assert told.err.startswith("exporting ")
    session = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    for frames, batch in ((4, 2), (7, 1)):
        (clip,) = random_clips(weights.described, frames, batch)
        (scores,) = session.run(None, {"clip": clip.numpy()})
        expected = weights.scores([clip]).joint
        torch.testing.assert_close(torch.from_numpy(scores), expected, atol=1e-4, rtol=1e-4)
    said = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert said["classes"] == ["a", "b", "c"] and said["clip"]["crop"] == list(CLIP.crop)


@pytest.mark.slow
def test_a_fusion_takes_a_tensor_for_each_stream(trained: Trained, tmp_path: Path) -> None:
    """Its stacks of fields hold it to the clips of training."""
    weights = load_weights(trained.both)
    found = exported(weights, tmp_path / "w.pt2", exporting._as_torch)
    assert not found.any_frames and found.apart < 1e-4
    program = torch.export.load(tmp_path / "w.pt2").module()
    clips = random_clips(weights.described, CLIP.frames, 3)
    assert [clip.shape[1:3] for clip in clips] == [(3, 4), (2, 3)]
    torch.testing.assert_close(program(*clips), weights.scores(clips).joint, atol=1e-4, rtol=1e-4)


def test_pixels_are_turned_round_in_the_file_too(tmp_path: Path) -> None:
    """What a format is given to trace takes pixels as they are."""
    plain = small()
    turned = Weights(plain.network, dataclasses.replace(plain.described, pixels="1..-1"))
    given: list[nn.Module] = []

    def as_it_is(
        module: nn.Module, clips: Any, shapes: Any, out: Path, metadata: str
    ) -> exporting.Run:
        given.append(module)
        out.touch()
        return lambda clips: module(*clips)

    exported(turned, tmp_path / "w.pt2", as_it_is)
    clips = random_clips(plain.described, CLIP.frames)
    with torch.no_grad():
        scores = given[0](*clips)
    torch.testing.assert_close(scores, turned.scores(clips).joint, atol=1e-4, rtol=1e-4)
    assert (scores - plain.scores(clips).joint).abs().max() > 1e-3


def test_a_runs_weights_become_a_file(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(trained.flow)]) == 0
    (file,) = tmp_path.glob("*.safetensors")
    assert file.stem == f"{trained.flow.parent.name}_seed0"
    clips = random_clips(load_weights(file).described, CLIP.frames)
    before, after = (load_weights(path).scores(clips).joint for path in (trained.flow, file))
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "layer", [RepFlow(3, bottleneck=None, n_iter=2, rectify=False), TVNet(n_iter=2, scales=1)]
)
def test_what_stands_still_is_a_number_in_onnx(layer: nn.Module, tmp_path: Path) -> None:
    """torch.onnx takes the sum with a constant of 1e-12 for one with 0, and 0 / 0 is none."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    clip = torch.rand(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    clip[..., :8] = 0
    path = str(tmp_path / "layer.onnx")
    torch.onnx.export(layer.eval(), (clip,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: clip.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(clip), atol=1e-3, rtol=1e-3)


def test_a_file_that_fails_where_a_picture_is_still_is_not_written(tmp_path: Path) -> None:
    def lost(module: nn.Module, *_: object) -> exporting.Run:
        def run(clips: Sequence[torch.Tensor]) -> torch.Tensor:
            still = (clips[0].float().std(2) == 0).flatten(1).sum(1) > 100
            return module(*clips).masked_fill(still[:, None], torch.nan)

        return run

    with pytest.raises(UserError, match="of the largest apart"):
        exported(small(), tmp_path / "w.pt2", lost)


class Undecided(nn.Module):
    """What it computes depends on the numbers that it is given, which no file can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        if clip.sum() > 0:
            return clip.mean((2, 3, 4))
        return -clip.mean((2, 3, 4))


def test_what_cannot_be_exported_is_a_sentence(tmp_path: Path) -> None:
    weights = Weights(Undecided(), small().described)
    with pytest.raises(UserError, match=r"cannot be exported as \.pt2 .*: take --to weights") as e:
        exported(weights, tmp_path / "w.pt2", exporting._as_torch)
    assert "\n" not in str(e.value) and not list(tmp_path.iterdir())


def test_a_file_that_gives_other_scores_is_not_written(tmp_path: Path) -> None:
    def wrong(module: nn.Module, *_: object) -> exporting.Run:
        return lambda clips: module(*clips) * 1.1

    with pytest.raises(UserError, match="10% of the largest apart"):
        exported(small(), tmp_path / "w.pt2", wrong)
    assert not list(tmp_path.iterdir())


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    """Of clips that are longer than in training, or of any."""

    def lost(module: nn.Module, *_: object) -> exporting.Run:
        frames = CLIP.frames
        return lambda clips: module(*clips) * (1 if clips[0].shape[2] == frames else torch.nan)

    with pytest.raises(UserError, match="of the largest apart"):
        exported(small(), tmp_path / "w.pt2", lost)
    weights = small()
    with torch.no_grad():
        next(weights.network.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="no numbers: its training failed"):
        exported(weights, tmp_path / "w.pt2", lost)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ENDINGS)
def test_an_ending_that_is_not_the_formats_is_refused(
    to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tmp_path / "w.safetensors", small())
    given = ["export", str(tmp_path / "w.safetensors"), "--to", to, "--out", str(tmp_path / "o.x")]
    assert main(given) == 2
    assert f"ends in {ENDINGS[to]}" in capsys.readouterr().err
