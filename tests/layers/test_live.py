"""Frames that come one at a time give what their clip gives."""

from __future__ import annotations

import copy

import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import Fuse, RepFlow
from repflow_pl.layers.live import LiveFlow
from repflow_pl.layers.scaling import Range

pytestmark = pytest.mark.long


def trained(normalise: object, fuse: Fuse = "none") -> RepFlow:
    """A layer after a few steps, whose batch norm and range are no longer the initial ones."""
    torch.manual_seed(0)
    layer = RepFlow(6, bottleneck=4, n_iter=5, normalise=normalise, fuse=fuse)  # type: ignore[arg-type]
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    for step in range(3):
        layer(torch.randn(2, 6, 4, 10, 12) * (1 + step)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
    return layer.eval()


@pytest.mark.parametrize("fuse", ["none", "add", "multiply", "concat"])
@pytest.mark.parametrize("normalise", ["running", (-3.0, 3.0)])
def test_a_stream_gives_what_the_clip_gives(normalise: object, fuse: Fuse) -> None:
    layer = trained(normalise, fuse)
    clip = torch.randn(3, 6, 7, 10, 12)
    with torch.no_grad():
        whole = layer(clip)
    live = LiveFlow(layer)
    first, *streamed = (live(frame) for frame in clip.unbind(2))
    assert first is None
    torch.testing.assert_close(torch.stack(streamed, dim=2), whole, rtol=1e-5, atol=1e-5)
    assert not any(frame.requires_grad for frame in streamed)
    live.reset()
    assert live(clip[:, :, 0]) is None


def test_a_camera_may_write_every_frame_into_the_same_memory() -> None:
    layer = trained((-3.0, 3.0), "add")
    clip, memory = torch.randn(1, 6, 4, 10, 12), torch.empty(1, 6, 10, 12)
    live = LiveFlow(layer)
    _, *streamed = (live(memory.copy_(frame)) for frame in clip.unbind(2))
    torch.testing.assert_close(torch.stack(streamed, dim=2), layer(clip), rtol=1e-5, atol=1e-5)


def test_a_clip_by_itself_is_scaled_by_what_came_later() -> None:
    """Why the other normalisations have no stream: a pair of a clip gives other flow than alone."""
    layer = trained("clip")
    clip = torch.randn(1, 6, 7, 10, 12)
    clip[:, :, -1] *= 3
    whole, pair = layer(clip)[:, :, :1], layer(clip[:, :, :2])
    assert (whole - pair).abs().max() > 0.05 * whole.abs().max()
    for normalise in ("clip", "batch"):
        with pytest.raises(UserError, match="needs the whole clip"):
            LiveFlow(trained(normalise))


def test_the_running_range_is_the_mean_of_the_clips_own() -> None:
    """In training as "clip"; the range is the plain mean at first, and then goes by momentum."""
    scale = Range()
    batches = [torch.randn(4, 3, 5, 6, 6) * (1 + k) for k in range(12)]
    lows = [batch.flatten(1).amin(1).mean() for batch in batches]
    highs = [batch.flatten(1).amax(1).mean() for batch in batches]
    for batch in batches:
        scaled = scale(batch).flatten(1)
        assert scaled.amin(1).tolist() == [0] * 4 and scaled.amax(1).tolist() == [255] * 4
    for kept, each in ((scale.low, lows), (scale.high, highs)):
        mean = torch.stack(each[:10]).mean()
        for value in each[10:]:
            mean = 0.9 * mean + 0.1 * value
        torch.testing.assert_close(kept, mean)
    scale.eval()
    assert scale(scale.low[None]).item() == 0
    assert scale(scale.high[None]).item() == pytest.approx(255)
    again = Range()
    again.load_state_dict(scale.state_dict())
    assert torch.equal(again.eval()(batches[0]), scale(batches[0]))


def test_a_range_of_black_clips_alone_gives_0() -> None:
    scale = Range()
    scale(torch.zeros(2, 3, 5, 6, 6))
    assert not scale.eval()(torch.randn(2, 3, 5, 6, 6)).any()


def test_a_fixed_range_does_not_move() -> None:
    scale = Range((-1.0, 1.0))
    torch.testing.assert_close(
        scale(torch.tensor([-1.0, 0.0, 1.0, 2.0])), torch.tensor([0, 127.5, 255, 382.5])
    )
    assert (scale.low, scale.high) == (-1, 1)


def test_a_fixed_range_is_not_that_of_loaded_weights() -> None:
    layer, clip = RepFlow(6, bottleneck=4, normalise=(-1.0, 1.0)).eval(), torch.randn(1, 6, 3, 8, 8)
    loaded = RepFlow(6, bottleneck=4, normalise=(-1.0, 1.0)).eval()
    state = layer.state_dict() | {"range.low": torch.tensor(0.0), "range.high": torch.tensor(9.0)}
    loaded.load_state_dict(state)
    assert torch.equal(loaded(clip), layer(clip))


def test_an_empty_batch_leaves_the_range_as_it_is() -> None:
    layer = trained("running").train()
    before = copy.deepcopy(layer.range)
    assert layer(torch.randn(0, 6, 4, 10, 12)).shape == (0, 6, 3, 10, 12)
    assert before is not None and layer.range is not None
    for name, value in before.state_dict().items():
        assert torch.equal(layer.range.state_dict()[name], value), name


def test_a_layer_on_the_meta_device_gets_its_range() -> None:
    with torch.device("meta"):
        layer = RepFlow(6, bottleneck=4, normalise=(-2.0, 2.0))
    layer.to_empty(device="cpu").reset_parameters()
    assert layer.range is not None and (layer.range.low, layer.range.high) == (-2, 2)


def test_mistakes_are_one_sentence() -> None:
    layer = trained("running")
    live = LiveFlow(layer)
    live(torch.randn(1, 6, 10, 12))
    with pytest.raises(UserError, match=r"call reset\(\) where another video begins"):
        live(torch.randn(1, 6, 12, 12))
    with pytest.raises(UserError, match=r"takes a frame \[B, 6, H, W\]"):
        live(torch.randn(1, 6, 1, 10, 12))
    with pytest.raises(
        UserError, match=r"of floating point; this is \[1, 6, 10, 12\], torch.uint8"
    ):
        live(torch.zeros(1, 6, 10, 12, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"weights of torch.float32, and these clips are .*float64"):
        LiveFlow(layer)(torch.randn(1, 6, 10, 12, dtype=torch.float64))
    with pytest.raises(UserError, match="has no range yet"):
        LiveFlow(RepFlow(6, normalise="running").eval())(torch.randn(1, 6, 10, 12))
    layer.train()
    with pytest.raises(UserError, match="training mode"):
        live(torch.randn(1, 6, 10, 12))
    with pytest.raises(UserError, match="from a number to a larger one"):
        RepFlow(6, normalise=(1.0, 1.0))
    with pytest.raises(UserError, match="from a number to a larger one"):
        RepFlow(6, normalise=(0.0, 1.0, 2.0))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a range goes"):
        RepFlow(6, normalise=(0.0, "b"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="from a number to a larger one"):
        RepFlow(6, normalise=(0.0, float("inf")))
    for wrong in (None, 255.0):
        with pytest.raises(UserError, match=f"unknown normalisation {wrong}"):
            RepFlow(6, normalise=wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="running"):
        RepFlow(6, normalise="runing")  # type: ignore[arg-type]
