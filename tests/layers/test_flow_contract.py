"""What all flow layers share: sentences for mistakes, positive scalars, values made again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import LEAST, FlowIteration, RepFlow, flow_layers, positive
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.layers.motion_filter import MotionBlock
from repflow_pl.layers.off import OFFLayer
from repflow_pl.layers.tvnet import TVNet

LAYERS = pytest.mark.parametrize("make", [RepFlow, FlowStack, FlowIteration])


def _run(make: Any, clips: Tensor) -> Tensor:
    layer = make(6, n_iter=1)
    found: Tensor = layer.of_clips(clips) if isinstance(layer, FlowIteration) else layer(clips)
    return found


SHAPES = {
    "one frame": (torch.zeros(6, 8, 8), r"\[B, 6, T, H, W\].* this is \[6, 8, 8\]\.$"),
    "unbatched": (torch.zeros(6, 4, 8, 8), r"\[6, 4, 8, 8\]: make one clip a batch"),
    "channels": (torch.zeros(2, 5, 4, 8, 8), r"\[B, 6, T, H, W\], of 6 channels; these are \[2, 5"),
    "integers": (torch.zeros(2, 6, 4, 8, 8, dtype=torch.uint8), r"floating point.*uint8"),
    "too short": (torch.zeros(2, 6, 1, 8, 8), r"frames or more; these have 1"),
    "too small": (torch.zeros(2, 6, 4, 8, 1), r"2 pixels or more, high and wide; these are 8 x 1"),
}


@LAYERS
@pytest.mark.parametrize("name", SHAPES)
def test_clips_that_do_not_fit(name: str, make: Any) -> None:
    clips, message = SHAPES[name]
    with pytest.raises(UserError, match=message):
        _run(make, clips)


@pytest.mark.parametrize("make", [RepFlow, FlowStack])
@pytest.mark.parametrize("bottleneck", [None, 4])
@pytest.mark.parametrize(
    "weights, given, autocast",
    [
        (torch.float32, torch.float16, False),
        (torch.float32, torch.float64, True),
        (torch.bfloat16, torch.float32, False),
    ],
    ids=str,
)
def test_clips_of_another_dtype_than_the_weights(
    make: Any, bottleneck: int | None, weights: torch.dtype, given: torch.dtype, autocast: bool
) -> None:
    layer = make(6, bottleneck=bottleneck, n_iter=1).to(weights)
    clips = torch.randn(1, 6, 4, 8, 8, dtype=given)
    message = f"weights of {weights}, and these clips are {given}: give clips.to"
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        with pytest.raises(UserError, match=message):
            layer(clips)
        layer(clips.to(weights))
        layer.to(given)(clips)


@pytest.mark.parametrize("make", [RepFlow, FlowStack])
@pytest.mark.parametrize("bottleneck", [None, 4])
def test_autocast_takes_clips_and_weights_of_two_dtypes(make: Any, bottleneck: int | None) -> None:
    layer, clips = make(6, bottleneck=bottleneck, n_iter=1).eval(), torch.randn(1, 6, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(clips.bfloat16()), layer(clips), rtol=0.1, atol=0.1)
        layer.bfloat16()(clips)


@pytest.mark.parametrize("kernels", ["central", "dense"])
@pytest.mark.parametrize("shape", [(6, 8, 8), (2, 5, 8, 8)])
def test_frames_that_do_not_fit(shape: tuple[int, ...], kernels: Any) -> None:
    with pytest.raises(UserError, match=r"frames must be \[\.\.\., 6, H, W\]"):
        FlowIteration(6, kernels=kernels)(torch.zeros(shape), torch.zeros(shape))


@LAYERS
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"n_iter": -1}, "n_iter must be 0 or more; it is -1"),
        ({"n_iter": 1.5}, r"n_iter must be a whole number, not 1\.5"),
        ({"n_iter": "20"}, "n_iter must be a whole number, not '20'"),
        ({"n_iter": None}, "n_iter must be a whole number, not None"),
        ({"learn": "theta"}, r"give \['theta'\], not 'theta'"),
        ({"learn": ["thetta"]}, "did you mean theta"),
        ({"learn": None}, r"give \[\], not None"),
        ({"learn": [3]}, "unknown flow parameter 3"),
        ({"kernels": "centre"}, "did you mean central"),
        ({"kernels": 3}, "unknown set of flow kernels 3"),
        ({"backend": None}, "unknown backend for central kernels None"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(make: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(6, **wrong)


@pytest.mark.parametrize("make", [RepFlow, FlowStack])
@pytest.mark.parametrize("bottleneck", [0, -2])
def test_bottlenecks_that_do_not_fit(make: Any, bottleneck: int) -> None:
    with pytest.raises(UserError, match=f"bottleneck must be 1 or more; it is {bottleneck}"):
        make(6, bottleneck=bottleneck)
    with pytest.raises(UserError, match="did you mean clip"):
        make(6, normalise="clips")


@pytest.mark.parametrize(
    "make, wrong, message",
    [
        (MotionBlock, (6, 0), "reduction must be 1 or more; it is 0"),
        (OFFLayer, (6, -1, 1), "temporal must be 1 or more; it is -1"),
        (TVNet, (1, 0.5), r"warps must be a whole number, not 0\.5"),
        (RepFlow, (None,), "channels must be a whole number, not None"),
        (FlowStack, (6, None), "layers must be a whole number, not None"),
        (partial(FlowStack, normalise=(0, 1)), (6,), r"unknown normalisation \(0, 1\)"),
        (partial(RepFlow, fuse=None), (6,), "unknown fusion None: did you mean none"),
    ],
)
def test_what_fits_no_layer(make: Any, wrong: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(*wrong)


@pytest.mark.parametrize("make", [RepFlow, FlowStack])
def test_counts_of_numpy_are_counts(make: Any) -> None:
    layer = make(np.int64(6), bottleneck=np.int32(4), n_iter=np.int64(2))
    assert layer(torch.randn(1, 6, 4, 8, 8)).isfinite().all()


def test_any_iterable_names_what_is_trained_in_every_flow_of_a_stack() -> None:
    stack = FlowStack(6, 2, learn=iter(["tau"]))
    assert all(each.learn == ("tau",) for each in stack.iterations)  # type: ignore[comparison-overlap]


def test_positive_is_the_number_itself_and_smooth_where_it_ends() -> None:
    ordinary = torch.tensor([0.3, 0.15, 0.25, 1.001e-3, 40.0, torch.inf])
    assert torch.equal(positive(ordinary), ordinary)
    assert positive(torch.tensor(torch.nan)).isnan()
    low = torch.tensor([LEAST, 0.5 * LEAST, 0, -1, -1e6], dtype=torch.float64, requires_grad=True)
    found = positive(low)
    (slope,) = torch.autograd.grad(found.sum(), low)
    assert (found > 0).all() and (found.diff() < 0).all()
    assert (slope > 0).all() and slope[0] == 1 and found[0] == LEAST
    assert torch.autograd.gradcheck(positive, low[1:4].detach().requires_grad_())


@pytest.mark.parametrize("kernels", ["central", "dense"])
@pytest.mark.parametrize("value", [0.0, -0.2])
@pytest.mark.parametrize("name", ["theta", "lam", "tau"])
def test_a_step_too_far_is_no_other_algorithm_and_is_taken_back(
    name: str, value: float, kernels: Any
) -> None:
    torch.manual_seed(0)
    iteration = FlowIteration(2, 5, kernels=kernels).double()
    parameter = getattr(iteration, name)
    frames = 255 * torch.rand(2, 1, 2, 8, 8, dtype=torch.float64)
    wanted = iteration(*frames).detach()
    nn.init.constant_(parameter, value)
    flow = iteration(*frames)
    assert flow.isfinite().all() and parameter.item() == value
    (flow - wanted).square().sum().backward()
    assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RepFlow(6, 4, kernels="sobel", fuse="concat"),
        lambda: RepFlow(6, None, kernels="dense"),
        lambda: FlowStack(6, 2, residual=True),
        lambda: FlowStack(6, 3, convolve=False),
        lambda: FlowIteration(3),
    ],
    ids=["sobel", "dense", "residual", "flow-of-flow", "iteration"],
)
def test_values_are_made_again(make: Any) -> None:
    torch.manual_seed(0)
    fresh = make()
    with torch.device("meta"):
        layer = make()
    assert all(each.is_meta for each in layer.state_dict().values())
    layer.to_empty(device="cpu")
    for tensor in layer.state_dict().values():
        tensor.fill_(7)
    torch.manual_seed(0)
    layer.reset_parameters()
    again = layer.state_dict()
    assert list(again) == list(fresh.state_dict())
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_every_part_with_values_of_its_own_makes_them_again() -> None:
    """Which is what FSDP asks of each module."""
    for layer in (RepFlow(6), FlowStack(6, residual=True)):
        for part in layer.modules():
            own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
            before = [each.clone() for each in own]
            if own and not isinstance(part, nn.Conv2d):
                with torch.no_grad():
                    for each in own:
                        each.fill_(7)
                part.reset_parameters()  # type: ignore[operator]
                assert all(map(torch.equal, own, before))


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kernels", ["central", "sobel", "dense"])
def test_a_shard_gets_its_values(kernels: Any, rank: int) -> None:
    """Which is what `fully_shard` asks; of three channels one process has two, the other one."""
    fresh = FlowIteration(3, kernels=kernels)
    with torch.device("meta"):
        layer = FlowIteration(3, kernels=kernels)
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=2)
    try:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
        layer.to_empty(device="cpu").reset_parameters()
    finally:
        dist.destroy_process_group()
    for name, whole in fresh.named_parameters():
        held = layer.get_parameter(name)
        assert isinstance(held, DTensor)
        assert torch.equal(held.to_local(), whole.tensor_split(2)[rank]), name


@pytest.mark.parametrize("make", [RepFlow, FlowStack])
def test_parts_that_are_sharded_take_the_dtype_of_their_policy(make: Any) -> None:
    """Which they have when they are gathered, and not as the layer sees them."""
    layer, clips = make(6, n_iter=1).eval(), torch.randn(1, 6, 4, 8, 8)
    wanted = layer(clips).detach()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh, half = init_device_mesh("cpu", (1,)), MixedPrecisionPolicy(torch.bfloat16)
        for part in layer.modules():
            if isinstance(part, nn.Conv2d | FlowIteration):
                fully_shard(part, mesh=mesh, mp_policy=half)
        found = layer(clips.bfloat16())
        found.float().sum().backward()
    finally:
        dist.destroy_process_group()
    torch.testing.assert_close(found.float(), wanted, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("make", [RepFlow, FlowStack])
def test_an_iteration_that_is_wrapped_is_called_as_what_it_is_wrapped_in(make: Any) -> None:
    """As FSDP and checkpointing wrap modules: they act where they are called."""
    layer, clips = make(6, n_iter=2), torch.randn(1, 6, 4, 8, 8)
    iterations, calls = flow_layers(layer), []
    for each in iterations:
        each.register_forward_pre_hook(lambda *_: calls.append(0))
    wanted = layer(clips).detach()
    apply_activation_checkpointing(layer, check_fn=lambda part: part in iterations)
    calls.clear()
    found = layer(clips)
    found.sum().backward()
    assert torch.equal(found, wanted) and len(calls) == 2 * len(iterations)


def test_a_printed_layer_tells_its_settings() -> None:
    said = repr(RepFlow(6, 4, 7, ["tau"], normalise="batch", fuse="add"))
    assert "6, normalise='batch', fuse='add'" in said
    assert "4, n_iter=7, learn=('tau',), kernels='central', backend='auto'" in said
    assert "6, residual=True, normalise='clip'" in repr(FlowStack(6, residual=True))


@pytest.mark.filterwarnings("ignore:Converting a tensor", "ignore:`torch.jit")
def test_a_traced_layer_runs_where_this_package_is_not(tmp_path: Path) -> None:
    """torch.jit.trace, as the older ONNX exporter does: with gradients on, as one calls it."""
    torch.manual_seed(0)
    layer, clip = RepFlow(6, 4, n_iter=3).eval(), torch.randn(2, 6, 3, 8, 8)
    torch.jit.save(torch.jit.trace(layer, clip), tmp_path / "layer.pt")
    loaded = torch.jit.load(tmp_path / "layer.pt")
    assert "repflow_pl::" not in str(loaded.inlined_graph)
    torch.testing.assert_close(loaded(clip), layer(clip), rtol=1e-4, atol=1e-5)
