"""The authors' released weights as our networks.

A state dict of github.com/piergiaj/representation-flow-cvpr19 becomes a file of ours, which says
how to build its network; :func:`load_released` reads either.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.released.names import State, matched, own_names, recognise, released_names
from repflow_pl.released.networks import ReleasedNetwork, ReleasedSpec

FORMAT = "repflow_pl.released"
"""The key that marks a file of ours; its value is the version of what stands beside it."""

KINETICS_ITERATIONS = 10
"""Fixed in the authors' code of that network; the other takes them from its command line."""


def load_released(path: str | Path, iterations: int | None = None) -> ReleasedNetwork:
    """A released network with its weights, in eval mode, on the CPU.

    Args:
        path: a state dict of the authors' code, with the `module.` prefix of DataParallel or
            without, or a file that `convert` wrote. The network is recognised from its tensors.
        iterations: of Alg. 1. The authors' files do not tell them; a file of ours does, and
            "kinetics" has 10. What is given here holds.

    Float64 weights give a float64 network, all others a float32 one. Nothing in the file is
    executed.
    Errors: UserError for a file that cannot be read or that holds something else, and where
    iterations are needed and not given.
    """
    path = Path(path)
    if iterations is not None and iterations < 0:
        raise UserError(f"a flow layer has 0 iterations or more, not {iterations}.")
    content = _read(path)
    if FORMAT in content:
        return _from_ours(content, path, iterations)
    return _from_released(content, path, iterations)


def convert(source: Path, target: Path, iterations: int | None = None) -> ReleasedNetwork:
    """Write released weights as a file of ours, plain values and tensors; return the network.

    Arguments and errors are those of :func:`load_released`.
    Errors: UserError, too, where the target cannot be written; it is whole or left as it was.
    """
    net = load_released(source, iterations)
    whole = io.BytesIO()
    spec = dataclasses.asdict(net.spec)
    torch.save({FORMAT: 1, "network": spec, "state": dict(net.state_dict())}, whole)
    with atomic_write(target, "wb") as stream:
        stream.write(whole.getbuffer())
    return net


def _read(path: Path) -> Mapping[str, Any]:
    """The dictionary in a file of torch.save. Errors: UserError."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        with stream:
            content = torch.load(stream, map_location="cpu", weights_only=True)
    # A damaged or hostile file makes the reader fail in any way: there is no list of them.
    except Exception as error:
        raise UserError(
            f"{path} is damaged or holds more than weights, and was not loaded: get it again, or "
            "save the network's state_dict() alone."
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} is no state dict but a {type(content).__name__}.")
    return content


def _from_released(content: Mapping[str, Any], path: Path, n_iter: int | None) -> ReleasedNetwork:
    prefix = "module."  # of DataParallel
    if content and all(name.startswith(prefix) for name in content):
        content = {name.removeprefix(prefix): value for name, value in content.items()}
    state = _tensors(content, path)
    spec = recognise(state, str(path), KINETICS_ITERATIONS if n_iter is None else n_iter)
    net = ReleasedNetwork(spec)
    tensors = matched(
        released_names(net), state, f"{path} looks like {spec.name} ({spec.source}), but"
    )
    if n_iter is None and spec.family == "fcf":
        raise UserError(
            f"{path} is {spec.name} ({spec.source}), whose files do not tell the iterations of the "
            "flow layers: give those of its training (--iterations)."
        )
    return _filled(net, tensors)


def _from_ours(content: Mapping[str, Any], path: Path, n_iter: int | None) -> ReleasedNetwork:
    try:
        if content[FORMAT] != 1:
            raise ValueError("another version")
        spec = ReleasedSpec(**content["network"])
        state = _tensors(content["state"], path)
    except UserError:  # a ValueError too, which says more
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} was written by another version of repflow_pl: convert its source again."
        ) from error
    net = ReleasedNetwork(spec if n_iter is None else dataclasses.replace(spec, n_iter=n_iter))
    tensors = matched(own_names(net), state, f"{path} should hold {spec.name}, but")
    return _filled(net, tensors)


def _tensors(content: Mapping[str, Any], path: Path) -> State:
    if not content:
        raise UserError(f"{path} holds no weights: get it again.")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"{path} is no state dict: {name!r} is a {type(value).__name__} and no tensor."
            )
    return content


def _filled(net: ReleasedNetwork, tensors: State) -> ReleasedNetwork:
    """The network with these tensors; what is absent keeps its initial value."""
    if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
        net.double()
    state = net.state_dict()
    state.update({name: tensor.reshape(state[name].shape) for name, tensor in tensors.items()})
    net.load_state_dict(state)
    return net.eval()
