"""Weights that need nothing beside them: the network, its classes and how its clips are prepared.

A file of ours is a safetensors file whose metadata says all that, as JSON under the key KEY. A
run's checkpoint is completed by what its folder says, the authors' released file by what is known
of its training.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from repflow_pl.data.floats import to_float
from repflow_pl.data.upkeep.facts import facts_path, read_facts
from repflow_pl.errors import UserError
from repflow_pl.extras import load
from repflow_pl.files import atomic_write
from repflow_pl.models.build import build_model
from repflow_pl.models.streams import LateFusion
from repflow_pl.released.load import load_released
from repflow_pl.released.networks import ReleasedNetwork, ReleasedSpec
from repflow_pl.specs import (
    ClipSpec,
    DataStream,
    LateSpec,
    ModelSpec,
    Precision,
    RunSpec,
    Stream,
    networks_of,
    spec_hash,
    streams_of,
    to_dict,
    with_networks,
)
from repflow_pl.strict import parse
from repflow_pl.training.trained import LAST, network_state

KEY = "repflow_pl"
"""Of the metadata of a safetensors file."""
SUFFIX = ".safetensors"
STREAMS: dict[Stream, str] = {
    "rgb": "RGB",
    "grey": "grey frames",
    "rgb_diff": "RGB differences",
    "tvl1": "TV-L1",
    "tvl1_twice": "TV-L1 of TV-L1",
    "vectors": "motion vectors",
    "raft": "RAFT",
}
RELEASED_CLIP = ClipSpec(
    frames=16, stride=2, size=128, crop=(112, 112), views=10, short="hold"
)  # as the paper profile, which follows the released recipe


@dataclass(frozen=True)
class Described:
    """What a weights file says beside the tensors."""

    model: ModelSpec | LateSpec | ReleasedSpec
    clip: ClipSpec
    classes: tuple[str, ...]
    precision: Precision = "32"
    """That the network was evaluated in."""
    pixels: Literal["-1..1", "1..-1"] = "-1..1"
    """What black and white are for the network."""
    card: str = ""
    """For people, in markdown: data, figures, limits, licences."""
    version: Literal[1] = 1

    @property
    def sign(self) -> float:
        """Of the network's inputs, beside what `to_float` gives."""
        return -1.0 if self.pixels == "1..-1" else 1.0

    @property
    def streams(self) -> tuple[DataStream, ...]:
        """What the network is given, in its order."""
        return ("rgb",) if isinstance(self.model, ReleasedSpec) else streams_of(self.model)


class Scores(NamedTuple):
    """Class scores of clips before the softmax, float32 [V, classes] on the CPU."""

    joint: Tensor
    members: tuple[tuple[str, Tensor], ...]
    """Name and scores of each network of a late fusion; none of a network that stands alone."""


@dataclass(frozen=True)
class Weights:
    """A network in eval mode, and all that is needed to ask it."""

    network: nn.Module
    described: Described

    def inputs(self, views: Sequence[Tensor]) -> list[Tensor]:
        """Clips uint8 [V, C, T, H, W], one for each stream, as the network takes them."""
        device = next(self.network.parameters()).device
        return [self.described.sign * to_float(stream.to(device)) for stream in views]

    @torch.no_grad()
    def scores(self, views: Sequence[Tensor]) -> Scores:
        """What the network says to clips, as evaluation computes it; shapes as in `inputs`."""
        inputs = self.inputs(views)
        mixed = self.described.precision == "bf16"
        with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=mixed):
            if not isinstance(self.network, LateFusion):
                return Scores(self.network(*inputs).float().cpu(), ())
            members = self.network.of_each(*inputs)
            joint = self.network.joined(members)
        assert isinstance(self.described.model, LateSpec)
        names = [name_of(each) for each in networks_of(self.described.model)]
        each = [scores.float().cpu() for scores in members]
        return Scores(joint.float().cpu(), tuple(zip(names, each, strict=True)))


def name_of(model: ModelSpec | LateSpec | ReleasedSpec) -> str:
    """A network in a few words: what it sees, and what in it represents motion."""
    if isinstance(model, ReleasedSpec):
        return model.name
    if isinstance(model, LateSpec):
        return " + ".join(name_of(each) for each in networks_of(model))
    name = f"{model.backbone} on {STREAMS[model.stream]}"
    if model.flow is not None:
        at = f"after block {model.flow.after_block}" if model.flow.after_block else "on the input"
        return f"{name}, flow layer {at}"
    return f"{name}, {model.motion.kind}" if model.motion is not None else name


def load_weights(path: Path, iterations: int | None = None, classes: Sequence[str] = ()) -> Weights:
    """The weights of a file of ours, of a run (its folder or a checkpoint in it), or the authors'.

    Nothing in a file is executed, and nothing is downloaded.

    Args:
        iterations: of the flow layers of the authors' networks, whose files may not tell them.
        classes: names in the order of the scores, where the file has none or others.

    Errors: UserError for what cannot be read or is something else.
    """
    path = path.absolute()
    if path.is_dir():
        found = _of_run(path, path / LAST)
    elif path.suffix == SUFFIX:
        found = _of_ours(path)
    elif (path.parent / "spec.json").is_file():
        found = _of_run(path.parent, path)
    else:
        found, iterations = _of_released(path, iterations), None
    if iterations is not None:
        raise UserError(f"{path} tells its iterations by itself: leave out --iterations.")
    found.network.eval()
    for name, value in found.network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(
                f"{path} has NaN or infinity in {name}: its training failed; name other weights."
            )
    if not classes:
        return found
    if len(classes) != len(found.described.classes):
        raise UserError(
            f"the network has {len(found.described.classes)} classes and {len(classes)} names were "
            "given: give one a line, in the order of its scores."
        )
    described = dataclasses.replace(found.described, classes=tuple(classes))
    return dataclasses.replace(found, described=described)


def save_weights(path: Path, weights: Weights, half: bool = False) -> None:
    """Write a file of ours. Errors: UserError where the place cannot be written.

    Args:
        half: kernels and matrices in half precision, a file half as large.
    """
    save = load("safetensors.torch").save
    said = json.dumps(to_dict(weights.described), sort_keys=True)
    state = {
        name: (value.half() if half and value.ndim > 1 else value).contiguous()
        for name, value in weights.network.state_dict().items()
    }
    with atomic_write(path, "wb") as stream:
        stream.write(save(state, {KEY: said}))


def _of_ours(path: Path) -> Weights:
    safetensors = load("safetensors")
    try:
        with safetensors.safe_open(str(path), "pt") as content:
            said = (content.metadata() or {}).get(KEY)
            state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"there are no weights in {path}: name another file.") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} is damaged ({_line(error)}): get it again.") from error
    if said is None:
        raise UserError(
            f"{path} does not say what network it is of: it was not written by repflow_pl."
        )
    try:
        described = parse(Described, json.loads(said))
    except ValueError as error:
        raise UserError(
            f"{path} was written by another version of repflow_pl ({error}): export it again."
        ) from error
    network = _network(described.model, len(described.classes))
    return Weights(_filled(network, state, path), described)


def _of_run(folder: Path, checkpoint: Path) -> Weights:
    spec = _spec_of(folder)
    runs = folder.parent.parent
    facts = facts_path(runs, spec.data.name, spec.data.fingerprint)
    if not facts.is_file():
        raise UserError(
            f"{folder} does not say how its classes are called, {facts} does and is not there: "
            "copy it there, too."
        )
    classes = read_facts(facts).classes
    if not classes:
        raise UserError(
            f"{facts} is of an older version and has no names of classes: run a table on that data "
            "set again, which completes it."
        )
    network = _network(spec.model, len(classes))
    if isinstance(spec.model, LateSpec):
        members = [runs / spec_hash(member) / folder.name for member in spec.model.members]
        for part, place in zip(network.members, members, strict=True):  # type: ignore[arg-type]
            _filled(part, _checkpoint_state(place / LAST), place / LAST)
    else:
        _filled(network, _checkpoint_state(checkpoint), checkpoint)
    return Weights(network, Described(spec.model, spec.data.clip, classes, spec.recipe.precision))


def _spec_of(folder: Path) -> RunSpec:
    path = folder / "spec.json"
    try:
        return parse(RunSpec, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is no folder of a run, which has a spec.json: name runs/<hash>/seed<k>."
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path} is damaged or of another version ({error}): run its table again."
        ) from error


def _checkpoint_state(path: Path) -> dict[str, Tensor]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return network_state(checkpoint)
    except FileNotFoundError:
        raise UserError(
            f"there is no checkpoint {path}: results travel without their weights; train the run."
        ) from None
    except Exception as error:  # a damaged file makes the reader fail in any way
        raise UserError(
            f"{path} is damaged or no checkpoint of a run ({_line(error)}): name another one."
        ) from error


def _of_released(path: Path, iterations: int | None) -> Weights:
    network = load_released(path, iterations)
    spec = network.spec
    classes = tuple(f"class {number}" for number in range(spec.classes))
    negative = spec.family == "fcf"
    described = Described(spec, RELEASED_CLIP, classes, pixels="1..-1" if negative else "-1..1")
    return Weights(network.float(), described)


def _network(model: ModelSpec | LateSpec | ReleasedSpec, classes: int) -> nn.Module:
    """The network of a spec, for weights of our own: no others are fetched for it."""
    if isinstance(model, ReleasedSpec):
        return ReleasedNetwork(model)
    untrained = with_networks(model, lambda each: dataclasses.replace(each, pretrained=False))
    return build_model(untrained, classes)


def _filled(network: nn.Module, state: Mapping[str, Any], path: Path) -> nn.Module:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"the weights in {path} are not those of the network that it names "
            f"({_line(error)}): get it again."
        ) from error
    return network


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
