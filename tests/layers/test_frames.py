"""What is no clip is refused in one sentence, the same by every layer and network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from repflow_pl.errors import UserError
from repflow_pl.layers.motion_filter import MotionBlock
from repflow_pl.layers.off import OFFLayer
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.specs import (
    ActionFlowNetSpec,
    FlowSpec,
    ModelSpec,
    MotionFilterSpec,
    OFFSpec,
    TVNetSpec,
)


def network(spec: ModelSpec) -> nn.Module:
    pytest.importorskip("torchvision")
    from repflow_pl.models.build import build_model

    return build_model(spec, 2)


def released() -> nn.Module:
    pytest.importorskip("torchvision")
    from repflow_pl.released.networks import ReleasedNetwork, ReleasedSpec

    return ReleasedNetwork(ReleasedSpec("fcf", 18, 2, n_iter=1))


TAKERS: dict[str, Callable[[], nn.Module]] = {
    "TVNet": lambda: TVNet(1, 1, 2),
    "OFFLayer": lambda: OFFLayer(3, 4, 2),
    "MotionBlock": lambda: MotionBlock(3, 1),
    "released": released,
    "plain": lambda: network(ModelSpec("narrow")),
    "volumetric": lambda: network(ModelSpec("narrow3d")),
    "flow": lambda: network(ModelSpec("narrow", flow=FlowSpec(0, n_iter=1))),
    "differences": lambda: network(ModelSpec("narrow", "rgb_diff")),
    "grey": lambda: network(ModelSpec("narrow", "grey")),
    "TVNet's fields": lambda: network(ModelSpec("narrow", motion=TVNetSpec(n_iter=2), stack=2)),
    "OFF": lambda: network(ModelSpec("narrow", motion=OFFSpec(4, 2, 8))),
    "MFNet": lambda: network(ModelSpec("narrow", motion=MotionFilterSpec())),
    "ActionFlowNet": lambda: network(ModelSpec("narrow", motion=ActionFlowNetSpec(width=8))),
}
MISTAKES = {
    "unbatched": (torch.rand(3, 12, 32, 32), r"is \[3, 12, 32, 32\]: make one clip a batch by"),
    "one picture": (torch.rand(3, 32, 32), r"of five dimensions, and this is \[3, 32, 32\]"),
    "channels": (torch.rand(1, 4, 12, 32, 32), r"of 3 channels; these are \[1, 4, 12, 32, 32\], 4"),
    "bytes": (torch.zeros(1, 3, 12, 32, 32, dtype=torch.uint8), r"torch.uint8: scale bytes to"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_mistake_gets_the_same_sentence_everywhere(taker: str, mistake: str) -> None:
    clip, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=rf"takes clips \[B, [3C], T, H, W\].*{sentence}"):
        TAKERS[taker]()(clip)


@pytest.mark.parametrize("stream", ["tvl1", "tvl1_twice"])
def test_fields_are_checked_too(stream: str) -> None:
    model = network(ModelSpec("narrow", stream, stack=2))  # type: ignore[arg-type]
    given: list[Tensor] = [torch.rand(2, 5, 32, 32), torch.rand(1, 3, 5, 32, 32)]
    for fields in given:
        with pytest.raises(UserError, match=r"takes clips \[B, .*, T, H, W\]"):
            model(fields)


PAIRS = ("OFFLayer", "MotionBlock", "TVNet", "OFF", "MFNet", "TVNet's fields", "ActionFlowNet")


@pytest.mark.parametrize("name", [*PAIRS, "differences"])
def test_what_sees_pairs_refuses_one_frame(name: str) -> None:
    with pytest.raises(UserError, match="two frames or more; these have 1"):
        TAKERS[name]()(torch.rand(1, 3, 1, 32, 32))
