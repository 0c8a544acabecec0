"""One spec and one seed -> result.json: trained, or resumed, or found finished."""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from repflow_pl.extras import needs

with needs("train", signals=True):
    import lightning as L

import numpy as np
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from torch import Tensor, nn

from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.floats import to_float
from repflow_pl.data.index import VideoSet
from repflow_pl.data.module import ClipModule
from repflow_pl.data.views import nothing
from repflow_pl.errors import UserError
from repflow_pl.files import write_json
from repflow_pl.models.build import build_model
from repflow_pl.models.streams import LateFusion
from repflow_pl.specs import (
    LateSpec,
    ModelSpec,
    RunSpec,
    networks_of,
    spec_hash,
    streams_of,
    to_dict,
    training_streams_of,
)
from repflow_pl.training.checkpoint import AtomicCheckpointIO, damage, usable_checkpoint
from repflow_pl.training.costs.extraction import extraction_ms
from repflow_pl.training.costs.measure import count_flops, kept_for_backward, measure_latency
from repflow_pl.training.following.pictures import FlowPictures
from repflow_pl.training.following.progress import EpochLines
from repflow_pl.training.following.tracking import log_result, tracked
from repflow_pl.training.memory import freed_memory_kept
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.planning.jobs import (
    Job,
    is_finished,
    is_joined_from_answers,
    is_made,
    member_runs,
    run_folder,
)
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.planning.ranks import under_torchrun
from repflow_pl.training.recording.curve import CURVE, write_curve
from repflow_pl.training.recording.predictions import (
    PREDICTIONS,
    Predictions,
    groups_of,
    joined,
    read_predictions,
    write_predictions,
)
from repflow_pl.training.recording.result import Latency, RunResult, read_result, write_result
from repflow_pl.training.recording.versions import versions
from repflow_pl.training.stopping import RunCheckpoint
from repflow_pl.training.trained import LAST, network_state

EXAMPLES = 4
"""Clips of the test part whose flow is pictured, where it is logged; the first is timed."""


def run(job: Job, video_set: VideoSet, machine: Machine, label: str, runs_after: int) -> RunResult:
    """Train a job to the end, from its checkpoint if there is one, test it and write result.json.

    `label` and `runs_after` are for the progress lines.
    Errors: UserError for what the user can mend; KeyboardInterrupt on Ctrl-C, with
    the checkpoint of the last epoch in place; Terminated on SIGTERM, with one of the last step.
    """
    with freed_memory_kept(), tracked(job, machine.out, machine.wandb) as logger:
        folder = run_folder(machine.out, job.spec, job.seed)
        write_json(folder / "spec.json", to_dict(job.spec))  # the program goes by the hash
        data = ClipModule(
            video_set,
            job.spec.data.clip,
            streams_of(job.spec.model),
            job.spec.recipe.batch,
            job.seed,
            train_streams=training_streams_of(job.spec.model),
        )
        module = VideoClassifier(
            job.spec,
            job.seed,
            classes=len(video_set.classes),
            videos_val=len(video_set.part("val")),
            videos_test=len(video_set.part("test")),
        )
        examples = (
            _no_views(job.spec)
            if is_joined_from_answers(machine.out, job)
            else first_views(video_set, job.spec, EXAMPLES)
        )
        checkpoint, damaged = usable_checkpoint(folder)
        if damaged:
            machine.console.print(f"{label} · {damaged}")
        # A finished run that is made again is one whose weights were gone: its result stays.
        kept = is_finished(machine.out, job)
        timer = Timer(verbose=False)
        callbacks = [
            EpochLines(machine.console, label, runs_after),
            timer,
            *_pictures(job, machine, examples),
            RunCheckpoint(folder, None if kept else folder / CURVE),
        ]
        trainer = _trainer(job, machine, callbacks, logger)
        test_seconds = _train_and_test(trainer, module, data, job, machine, checkpoint)
        train_seconds = timer.time_elapsed("train")  # validation included
        times = round(train_seconds, 2), round(test_seconds, 2)
        result = _result(job, video_set, module, trainer, examples, times)
        if trainer.is_global_zero and not kept:
            if module.curve:
                write_curve(folder / CURVE, module.curve)
            write_predictions(folder / PREDICTIONS, _predictions(module, video_set))
            write_result(folder / "result.json", result)  # last: with it the run is finished
        if logger is not None:
            log_result(logger, folder, result.spec, result.seed)
        return result


def _pictures(job: Job, machine: Machine, examples: tuple[Tensor, ...]) -> Iterator[FlowPictures]:
    """Where there is a flow layer, and somebody sees them."""
    has_flow = isinstance(job.spec.model, ModelSpec) and job.spec.model.flow is not None
    if has_flow and (machine.tensorboard or machine.wandb != "disabled"):
        yield FlowPictures(to_float(examples[0]), max(1, job.spec.recipe.epochs // 6))


def _train_and_test(
    trainer: L.Trainer,
    module: VideoClassifier,
    data: ClipModule,
    job: Job,
    machine: Machine,
    checkpoint: Path | None,
) -> float:
    """Seconds of the test. Late fusion takes the weights of finished runs or, where not all are
    here, the answers that they kept."""
    try:
        if isinstance(job.spec.model, LateSpec):
            if is_joined_from_answers(machine.out, job):
                module.take_answers(_kept_answers(job, machine.out, data.video_set))
                return 0.0
            assert isinstance(module.model, LateFusion)
            for model, member in zip(module.model.members, member_runs(job), strict=True):
                load_trained(model, member, machine.out, "late fusion")
        else:
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        start = time.monotonic()
        trainer.test(module, datamodule=data, verbose=False)
        return time.monotonic() - start
    except SystemExit as stopped:  # how Lightning goes on with a Ctrl-C or a SIGTERM
        cause = stopped.__context__
        raise (cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt()) from None


def _result(
    job: Job,
    video_set: VideoSet,
    module: VideoClassifier,
    trainer: L.Trainer,
    examples: tuple[Tensor, ...],
    times: tuple[float, float],
) -> RunResult:
    """What the tested network is and costs; `times` are the seconds of training and test."""
    accuracies = module.test_result
    assert accuracies is not None
    if accuracies.videos != len(video_set.part("test")):
        raise RuntimeError(
            f"{accuracies.videos} of {len(video_set.part('test'))} test videos were evaluated"
        )
    # Lightning has moved the network back to the CPU.
    device = trainer.strategy.root_device
    module.to(device)
    return RunResult(
        spec=spec_hash(job.spec),
        seed=job.seed,
        top1=accuracies.top1,
        top5=accuracies.top5,
        clip_top1=accuracies.clip_top1,
        clip_top5=accuracies.clip_top5,
        val_top1=module.last_val_top1,
        train_loss=module.last_train_loss,
        videos_train=len(video_set.part("train")),
        videos_val=len(video_set.part("val")),
        videos_test=accuracies.videos,
        videos_broken=len(video_set.broken),
        fingerprint=video_set.fingerprint,
        parameters=sum(p.numel() for p in module.model.parameters()),
        parameters_trained=sum(p.numel() for p in module.model.parameters() if p.requires_grad),
        flops=count_flops(module.model, _one_clip(examples, device)),
        latency=_latency(job.spec, module, video_set, examples),
        train_seconds=times[0],
        test_seconds=times[1],
        device=_device_name(device),
        versions=versions(),
        videos_missing=len(video_set.missing),
        videos_unread=accuracies.unread,
        manifest=video_set.manifest,
        ranks=trainer.world_size,
        kept_bytes=None if isinstance(job.spec.model, LateSpec) else _kept_bytes(module, examples),
    )


def _trainer(
    job: Job, machine: Machine, callbacks: list[L.Callback], logger: WandbLogger | None
) -> L.Trainer:
    loggers: list[Logger] = [] if logger is None else [logger]
    if machine.tensorboard:  # needs a package of its own
        from repflow_pl.training.following.tensorboard import event_logger

        loggers.append(event_logger(machine.out, job))
    # Lightning's notices on workers, logging intervals and the like help nobody here.
    warnings.filterwarnings("ignore", module="lightning.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    # In a cluster's job too, Lightning itself starts a run's further processes, as anywhere else.
    environment = TorchElasticEnvironment() if under_torchrun() else LightningEnvironment()
    return L.Trainer(
        max_epochs=job.spec.recipe.epochs,
        # "auto" takes Apple's GPU, which has no float64 and is not waited for where times are taken
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        precision="bf16-mixed" if job.spec.recipe.precision == "bf16" else "32-true",
        devices=machine.devices,
        num_nodes=machine.machines,
        strategy="ddp" if machine.devices * machine.machines > 1 else "auto",
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), environment],
        logger=loggers or False,
        deterministic="warn",
        use_distributed_sampler=False,  # the data module's own sampler knows the ranks
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=machine.out,
    )


def _kept_answers(job: Job, out: Path, video_set: VideoSet) -> Predictions:
    """The late fusion of what the members' own runs kept. Errors: UserError for other videos."""
    parts = []
    for member in member_runs(job):
        folder = run_folder(out, member.spec, member.seed)
        if read_result(folder / "result.json").fingerprint != video_set.fingerprint:
            raise UserError(
                f"late fusion needs {member.row!r}, whose result in {folder} is of other videos: "
                "remove that folder and run the table again."
            )
        parts.append(read_predictions(folder / PREDICTIONS))
    return joined(parts)


def load_trained(model: nn.Module, job: Job, out: Path, asked_by: str) -> None:
    """Put the weights that a finished run ended with into a network of its spec.

    Errors: UserError, saying what asked for them, where they are not there or damaged.
    """
    path = run_folder(out, job.spec, job.seed) / LAST
    if not is_made(out, job):  # it failed, and its checkpoint is of some epoch
        raise UserError(
            f"{asked_by} needs {job.row!r}, whose run in {path.parent} is not finished: "
            "run the table again."
        )
    damaged = damage(path)
    if damaged:
        raise UserError(
            f"{asked_by} needs the trained weights of {job.row!r} in {path} ({damaged}): "
            "remove it and run the table again: it is trained anew, and its result stays."
        )
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(network_state(checkpoint))


def _predictions(module: VideoClassifier, video_set: VideoSet) -> Predictions:
    """What the test found, for the record."""
    assert module.test_answers is not None
    rank, scores = module.test_answers
    videos = video_set.part("test")
    return Predictions(
        np.array([video.label for video in videos]),
        groups_of(videos),
        rank.numpy(),
        scores.double().numpy(),
    )


def first_views(video_set: VideoSet, spec: RunSpec, count: int) -> tuple[Tensor, ...]:
    """The first view of a few test videos, spread over the part: uint8 [B, C, T, H, W] a stream."""
    test = ClipDataset(video_set, "test", spec.data.clip, streams_of(spec.model))
    count = min(count, len(test))
    batch = test.__getitems__([k * len(test) // count for k in range(count)])
    return tuple(stream[:, 0] for stream in batch.inputs)


def _no_views(spec: RunSpec) -> tuple[Tensor, ...]:
    """As `first_views`, empty: to be timed where the streams' fields need not be made."""
    return tuple(nothing(stream, spec.data.clip)[None] for stream in streams_of(spec.model))


def _one_clip(examples: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """A batch of one clip, as the model takes it."""
    return tuple(to_float(stream[:1].to(device)) for stream in examples)


def _kept_bytes(module: VideoClassifier, examples: tuple[Tensor, ...]) -> int | None:
    """Of a network of its own on the CPU: a pass in training mode changes the averages of batch
    norm, and across ranks waits for the others. None where it cannot be had of a single clip."""
    network = build_model(module.spec.model, module.classes)
    mixed = module.spec.recipe.precision == "bf16"
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        try:
            return kept_for_backward(network, _one_clip(examples, torch.device("cpu")))
        except ValueError:  # batch norm, which takes a batch where maps are of one place
            return None


def _latency(
    spec: RunSpec, module: VideoClassifier, video_set: VideoSet, examples: tuple[Tensor, ...]
) -> Latency:
    """The model against the plain RGB network of the same backbone and clip, in turns."""
    rgb_model = dataclasses.replace(
        networks_of(spec.model)[0], stream="rgb", flow=None, motion=None
    )
    rgb_spec = dataclasses.replace(spec, model=rgb_model)
    reference = build_model(rgb_model, module.classes).to(module.device)
    rgb_examples = first_views(video_set, rgb_spec, EXAMPLES)
    frames = rgb_examples[0][0].permute(1, 2, 3, 0).numpy()  # [T, H, W, 3]
    mixed = spec.recipe.precision == "bf16"
    with torch.autocast(module.device.type, torch.bfloat16, enabled=mixed):
        return measure_latency(
            module.model,
            _one_clip(examples, module.device),
            reference,
            _one_clip(rgb_examples, module.device),
            tvl1_ms=extraction_ms(
                streams_of(spec.model), frames, video_set, spec.data.clip, repeats=10
            ),
        )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
