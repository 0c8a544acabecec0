"""What the tensors of the released networks are called in the authors' state dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from repflow_pl.errors import UserError
from repflow_pl.layers.flow import FlowIteration
from repflow_pl.released.networks import BASIC, DEPTHS, Family, ReleasedNetwork, ReleasedSpec

State = Mapping[str, Tensor]

_ITERATION = {
    "image_x": "img_grad",
    "image_y": "img_grad2",
    "flow_x": "f_grad",
    "flow_y": "f_grad2",
    "div_x": "div",
    "div_y": "div2",
    "theta": "t",
    "lam": "l",
    "tau": "a",
}
_FCF = {
    "stages.0.0": "conv1",
    "stages.0.1": "bn1",
    "flow.before.0": "flow_cmp",
    "flow.iterations.0": "flow_layer",
    "flow.before.1.0": "flow_conv",
    "flow.before.1.1": "flow_cmp2",
    "flow.iterations.1": "flow_layer2",
    "flow.expand": "flow_conv2",
    "flow.norm": "bnf",
    "head": "fc",
}
_KINETICS = {
    "stages.0.0": "stem",
    "stages.0.1": "bn1",
    "flow.bottleneck": "rep_flow.bottleneck",
    "flow.iteration": "rep_flow",
    "flow.expand": "rep_flow.unbottleneck",
    "flow.norm": "rep_flow.bn",
    "head": "classify",
}


@dataclass(frozen=True)
class Expected:
    """A tensor that a file should hold."""

    name: str
    shape: tuple[int, ...]
    optional: bool = False
    """Where it is absent, the freshly built network's value holds."""


def recognise(state: State, file: str, n_iter: int) -> ReleasedSpec:
    """The released network, with n_iter iterations, whose state dict this is, whole or not.

    Errors: UserError, naming the file, where it looks like none of them.
    """
    if any(name.startswith("res2.blocks.") for name in state):
        family: Family = "kinetics"
        stem, head, stages = "stem.weight", "classify.weight", "res{}.blocks."
        depths = [depth for depth in DEPTHS if depth not in BASIC]
    elif any(name.startswith("layer1.") for name in state):
        family = "fcf"
        stem, head, stages = "conv1.weight", "fc.weight", "layer{}."
        bottleneck = any(".conv3." in name for name in state)
        depths = [depth for depth in DEPTHS if (depth not in BASIC) == bottleneck]
    else:
        raise UserError(
            f"{file} holds weights of another network: it has neither the names of the authors' "
            "flow_2p1d_resnets.py (layer1.0.conv1.weight, ...) nor of their kinetics_2p1d_model.py "
            f"(res2.blocks.0.layers.1.weight, ...) but {some(state)}."
        )
    first = 2 if family == "kinetics" else 1
    counts = [_blocks(state, stages.format(first + k)) for k in range(4)]
    depth = min(
        depths, key=lambda d: sum(abs(n - m) for n, m in zip(DEPTHS[d], counts, strict=True))
    )
    classes = state[head].shape[0] if head in state and state[head].ndim else 0
    in_channels = state[stem].shape[1] if stem in state and state[stem].ndim > 1 else 3
    return ReleasedSpec(family, depth, max(classes, 1), n_iter, max(in_channels, 1))


def released_names(net: ReleasedNetwork) -> dict[str, Expected]:
    """Our name of each tensor -> its name and shape in the authors' state dict.

    Optional are theta, lambda and tau, which the released code keeps out of its parameters where
    they are not trained, and the batch norms' counters, which PyTorch did not always have.
    """
    modules = _modules(net)
    found = {}
    for ours, tensor in net.state_dict().items():
        path, _, name = ours.rpartition(".")
        module = net.get_submodule(path)
        if isinstance(module, FlowIteration):
            name = _ITERATION[name]
        optional = name in ("t", "l", "a", "num_batches_tracked")
        shape = _released_shape(module, ours, tuple(tensor.shape), net.spec.family)
        found[ours] = Expected(f"{modules[path]}.{name}", shape, optional)
    return found


def own_names(net: nn.Module) -> dict[str, Expected]:
    """The same for a file of ours, where names and shapes are the network's own."""
    return {name: Expected(name, tuple(t.shape)) for name, t in net.state_dict().items()}


def matched(expected: Mapping[str, Expected], state: State, file: str) -> dict[str, Tensor]:
    """The file's tensors by our names, in the file's shapes.

    Errors: UserError, beginning with `file`, of what is missing, unexpected or of another shape.
    """
    named = {wanted.name: wanted for wanted in expected.values()}
    missing = [name for name, w in named.items() if name not in state and not w.optional]
    unexpected = [name for name in state if name not in named]
    other = [
        f"{name} {list(state[name].shape)} in place of {list(wanted.shape)}"
        for name, wanted in named.items()
        if name in state and tuple(state[name].shape) != wanted.shape
    ]
    found = (("lacks", missing), ("has the unknown", unexpected), ("has", other))
    wrong = [f"{what} {some(names)}" for what, names in found if names]
    if wrong:
        raise UserError(f"{file} {'; it '.join(wrong)}.")
    return {ours: state[w.name] for ours, w in expected.items() if w.name in state}


def some(names: Iterable[str]) -> str:
    """The first few of many names."""
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (" and ".join if len(listed) == 2 else ", ".join)(listed[:3]) + more


def _modules(net: ReleasedNetwork) -> dict[str, str]:
    """Our path of each module that has tensors -> the released one's."""
    found = dict(_FCF if net.spec.family == "fcf" else _KINETICS)
    for stage, count in enumerate(DEPTHS[net.spec.depth], start=1):
        for block in range(count):
            ours = f"stages.{stage}.{block}"
            if net.spec.family == "fcf":
                theirs = f"layer{stage}.{block}"
                for k in range(3):
                    found[f"{ours}.branch.{3 * k}"] = f"{theirs}.conv{k + 1}"
                    found[f"{ours}.branch.{3 * k + 1}"] = f"{theirs}.bn{k + 1}"
                for k in range(2):
                    found[f"{ours}.shortcut.{k}"] = f"{theirs}.downsample.{k}"
            else:
                theirs = f"res{stage + 1}.blocks.{block}"
                # Our padding is inside branch.3; theirs is counted, and stands first.
                places = zip(("0", "1", "3.1", "4", "6", "7"), (1, 2, 5, 6, 8, 9), strict=True)
                for place, k in places:
                    found[f"{ours}.branch.{place}"] = f"{theirs}.layers.{k}"
                for k in range(3):
                    found[f"{ours}.shortcut.{k}"] = f"{theirs}.shortcut.{k + 1}"
    return found


def _released_shape(
    module: nn.Module, name: str, shape: tuple[int, ...], family: Family
) -> tuple[int, ...]:
    """Released flow kernels and 1x1 convolutions have dimensions of length 1 that ours have not."""
    if isinstance(module, FlowIteration) and len(shape) > 1:
        *channels, taps = shape
        channels = channels if module.kernels == "dense" else [*channels, 1]
        across = name.endswith("image_x") or (name.endswith("_x") and module.kernels != "dense")
        return (*channels, 1, taps) if across else (*channels, taps, 1)
    if isinstance(module, nn.Conv2d):
        return (*shape[:2], 1, *shape[2:])
    if isinstance(module, nn.Linear) and family == "kinetics" and len(shape) == 2:
        return (*shape, 1, 1, 1)
    return shape


def _blocks(names: Iterable[str], stage: str) -> int:
    """How many residual blocks of a stage the names speak of."""
    return len({name.removeprefix(stage).split(".")[0] for name in names if name.startswith(stage)})
