"""`repflow export`: trained weights as a file that needs nothing of this package, or little."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repflow_pl.data.floats import to_float
from repflow_pl.data.views import FEWER, nothing
from repflow_pl.errors import UserError
from repflow_pl.extras import load
from repflow_pl.files import atomic_write, check_writable
from repflow_pl.layers.flow import flow_layers
from repflow_pl.showing.loading import asked_weights
from repflow_pl.showing.options import ExportOptions
from repflow_pl.showing.weights import KEY, SUFFIX, Described, Weights, name_of, save_weights
from repflow_pl.specs import ClipSpec, DataStream, to_dict

ENDINGS = {"weights": SUFFIX, "onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-3
"""Of a score beside the largest one, between a file that is run and the network it is of."""
MORE_FRAMES = 3
"""By which a clip is longer that a file for any number of frames is tried on."""

Run = Callable[[Sequence[Tensor]], Tensor]
"""Runs an exported file on clips."""


@dataclass(frozen=True)
class Exported:
    """A file that was written and run."""

    any_frames: bool
    """Whether it takes clips of as many frames as in training or more, or of as many alone."""
    apart: float
    """The largest difference of a score from the network's, as a share of the largest score."""


class FromBytes(nn.Module):
    """A network that takes clips as they are decoded: uint8 [B, C, T, H, W] -> [B, classes]."""

    def __init__(self, network: nn.Module, sign: float) -> None:
        super().__init__()
        self.network = network
        self.sign = sign

    def forward(self, *streams: Tensor) -> Tensor:
        scores: Tensor = self.network(*(self.sign * to_float(stream) for stream in streams))
        return scores


def export(weights: Path, options: ExportOptions) -> int:
    """Write the file, run it, and say what it takes. Errors: UserError where it cannot be."""
    asked = asked_weights(weights, "cpu", options.iterations, options.classes)
    out = options.out or Path(f"{_stem(weights)}{ENDINGS[options.to]}")
    if out.suffix != ENDINGS[options.to]:
        raise UserError(f"a file of --to {options.to} ends in {ENDINGS[options.to]}, not as {out}.")
    check_writable(out.absolute().parent)
    said = name_of(asked.described.model)
    if options.to == "weights":
        save_weights(out, asked)
        print(f"wrote {out}: {said}, {len(asked.described.classes)} classes")
        return 0
    print(f"exporting {said}, each iteration of its flow: a minute or more", file=sys.stderr)
    exporter = _as_onnx if options.to == "onnx" else _as_torch
    found = exported(asked, out, exporter)
    clip = asked.described.clip
    takes = ", ".join(_shape(stream, clip, found.any_frames) for stream in asked.described.streams)
    if found.any_frames:
        takes += f" with T from {clip.frames} on"
    print(
        f"wrote {out}: {said}; {takes} -> scores [B, {len(asked.described.classes)}], at most "
        f"{found.apart:.1e} of the largest from the network's"
    )
    return 0


def exported(
    weights: Weights, out: Path, exporter: Callable[[nn.Module, Any, Any, Path, str], Run]
) -> Exported:
    """Export for as many frames as in training or more, or for as many alone, and run the file.

    Errors: UserError where the network cannot be exported, and where the file gives other scores.
    """
    said = weights.described
    network = copy.deepcopy(weights.network).float().eval()
    for layer in flow_layers(network):
        layer.backend = "eager"  # the others are code that no file can hold
    module = FromBytes(network, said.sign).eval()
    clips = random_clips(said, said.clip.frames)
    metadata = json.dumps(to_dict(said))
    reason = ""
    for any_frames in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / out.name
            try:
                run = exporter(module, clips, _dynamic(said, any_frames), made, metadata)
                lengths = [0, MORE_FRAMES] if any_frames else [0]
                apart = max(
                    _apart(module, run, random_clips(said, said.clip.frames + more))
                    for more in lengths
                )
            except UserError:
                raise
            except Exception as error:  # the exporters fail in ways that they do not list
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                continue
            if apart > TOLERANCE:
                raise UserError(
                    f"the exported network gives scores that are {apart:.0%} of the largest apart "
                    "from its own, and was not written: export it in the other format."
                )
            with atomic_write(out, "wb") as stream:
                stream.write(made.read_bytes())
        return Exported(any_frames, apart)
    raise UserError(
        f"{name_of(said.model)} cannot be exported as {out.suffix} ({reason}): take --to weights, "
        "which this package reads."
    )


def random_clips(said: Described, frames: int, batch: int = 2) -> tuple[Tensor, ...]:
    """Clips of noise in bytes beside a still border, one tensor for each stream."""
    clip = dataclasses.replace(said.clip, frames=frames)
    generator = torch.Generator().manual_seed(0)
    clips = []
    for stream in said.streams:
        still = nothing(stream, clip).repeat(batch, 1, 1, 1, 1)
        noise = torch.randint(0, 256, still.shape, dtype=torch.uint8, generator=generator)
        border = torch.arange(still.shape[-1]) < still.shape[-1] // 2
        clips.append(torch.where(border, still, noise))
    return tuple(clips)


def _as_torch(
    module: nn.Module, clips: tuple[Tensor, ...], dynamic: Any, path: Path, metadata: str
) -> Run:
    program = torch.export.export(module, clips, dynamic_shapes=dynamic, strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that share memory, which are kept whole
        torch.export.save(program, path, extra_files={KEY: metadata})
    loaded = torch.export.load(path).module()
    return lambda given: loaded(*given)


def _as_onnx(
    module: nn.Module, clips: tuple[Tensor, ...], dynamic: Any, path: Path, metadata: str
) -> Run:
    onnx, runtime = load("onnx"), load("onnxruntime")
    load("onnxscript")
    names = [f"clip_{k}" for k in range(len(clips))] if len(clips) > 1 else ["clip"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            clips,
            str(path),
            input_names=names,
            output_names=["scores"],
            dynamic_shapes=dynamic,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = onnx.load(path)
    model.metadata_props.add(key=KEY, value=metadata)
    onnx.save(model, path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(given: Sequence[Tensor]) -> Tensor:
        fed = {name: clip.numpy() for name, clip in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, fed)[0])

    return run


@torch.no_grad()
def _apart(module: nn.Module, run: Run, clips: Sequence[Tensor]) -> float:
    expected = module(*clips)
    if not expected.isfinite().all():
        raise UserError("the network's own scores are no numbers: its training failed.")
    largest = expected.abs().max().clamp(min=1e-6)
    apart = (run(clips) - expected).abs().max() / largest
    return float(apart.nan_to_num(nan=math.inf))  # NaN would count as no difference


def _dynamic(said: Described, any_frames: bool) -> Any:
    """Which sizes of the inputs are free: the batch, and the frames."""
    batch = torch.export.Dim("batch")
    frames = torch.export.Dim("frames", min=said.clip.frames) if any_frames else None
    shapes = []
    for stream in said.streams:
        sizes: dict[int, Any] = {0: batch}
        if frames is not None:
            sizes[2] = frames - FEWER[stream] if FEWER[stream] else frames
        shapes.append(sizes)
    return (tuple(shapes),)


def _shape(stream: DataStream, clip: ClipSpec, any_frames: bool) -> str:
    """Of a batch of clips, as it is written in docstrings."""
    channels, frames, height, width = nothing(stream, clip).shape
    time = f"T - {FEWER[stream]}".removesuffix(" - 0") if any_frames else str(frames)
    return f"uint8 [B, {channels}, {time}, {height}, {width}]"


def _stem(weights: Path) -> str:
    """Of a run its hash and seed, of a file its name."""
    place = weights.absolute()
    folder = place if place.is_dir() else place.parent
    if (folder / "spec.json").is_file():
        return f"{folder.parent.name}_{folder.name}"
    return place.stem
