"""The one LightningModule: any model of the package, trained and evaluated by a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from repflow_pl.data.clips import Batch
from repflow_pl.data.floats import to_float
from repflow_pl.errors import UserError
from repflow_pl.layers.flow import FlowIteration, flow_layers, positive
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.specs import RecipeSpec, RunSpec
from repflow_pl.training.batch_norm import share_batch_statistics
from repflow_pl.training.metrics import Accuracies, VideoAccuracy, restore_sums, saved_sums
from repflow_pl.training.recording.curve import Epoch
from repflow_pl.training.recording.predictions import Predictions


class VideoClassifier(L.LightningModule):
    """Cross-entropy on clips, or the model's own loss; accuracy on videos.

    Every step draws its random numbers from (seed, epoch, step) alone and a checkpoint has all that
    the epoch has summed up so far, so a resumed run ends with the numbers of an uninterrupted one.
    """

    def __init__(
        self, spec: RunSpec, seed: int, classes: int, videos_val: int, videos_test: int
    ) -> None:
        super().__init__()
        self.spec = spec
        self.seed = seed
        self.classes = classes
        torch.manual_seed(seed)
        self.model = build_model(spec.model, classes)
        # The function, not the network: that keeps the names of its weights.
        self.training_loss = torch.compile(training_loss) if spec.recipe.compile else training_loss
        self.train_loss = MeanMetric()
        self.train_top1 = MulticlassAccuracy(classes, average="micro")
        self.val_accuracy = VideoAccuracy(videos_val, classes)
        self.test_accuracy = VideoAccuracy(videos_test, classes)
        self.last_train_loss = 0.0
        self.last_val_loss: float | None = None
        self.last_val_top1: float | None = None
        self.curve: list[Epoch] = []
        self.test_result: Accuracies | None = None
        self.test_answers: tuple[Tensor, Tensor] | None = None
        """As `VideoAccuracy.of_each_video`."""
        self._step = torch.zeros(()), torch.zeros(0, dtype=torch.long)
        """Loss and clips of the training step under way."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """uint8 streams of clips [B, C, T, H, W] -> scores [B, classes]."""
        scores: Tensor = self.model(*(to_float(stream) for stream in inputs))
        return scores

    def scores(self, batch: Batch) -> Tensor:
        """Scores [B, V, classes] of a batch of videos with V views each."""
        views = batch.inputs[0].shape[1]
        flat = self(*(stream.flatten(0, 1) for stream in batch.inputs))
        scores: Tensor = flat.unflatten(0, (-1, views))
        return scores

    def setup(self, stage: str) -> None:
        """Lightning's hook, before the network goes to its device."""
        if self.trainer.world_size > 1:
            on_gpu = self.trainer.strategy.root_device.type == "cuda"
            share_batch_statistics(self.model, on_gpu)

    # --- training

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        # Dropout is the only draw made here; the loader's are functions of (seed, epoch) as well.
        # For every step anew: a resumed run may begin with any of them.
        step = (self.seed * 10_007 + self.current_epoch) * 1_000_003 + batch_index
        torch.manual_seed(step * 64 + self.global_rank)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        labels = batch.label.repeat_interleave(batch.inputs[0].shape[1])
        inputs = [to_float(stream.flatten(0, 1)) for stream in batch.inputs]
        scores, loss = self.training_loss(self.model, inputs, labels)
        self.train_loss.update(loss.detach(), len(labels))
        self.train_top1.update(scores.detach(), labels)
        self._step = loss.detach(), batch.index
        return loss

    def on_after_backward(self) -> None:
        """Lightning's hook, before the weights are touched.

        Errors: UserError, on all ranks, where one has a loss or gradient that is not finite.
        """
        loss, clips = self._step
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters() if p.grad is not None])
        finite = bool(loss.isfinite() & norm.isfinite())
        if not self.trainer.strategy.reduce_boolean_decision(finite):
            raise self._not_finite(clips)

    def _not_finite(self, clips: Tensor) -> UserError:
        gathered = self.all_gather(clips)
        assert isinstance(gathered, Tensor)
        videos = self.trainer.datamodule.video_set.part("train")  # type: ignore[attr-defined]
        paths = [videos[index].path for index in gathered.flatten().tolist()]
        return UserError(
            f"the loss or its gradient is not finite in epoch {self.current_epoch + 1}, step "
            f"{self.trainer.fit_loop.batch_idx + 1}: look at the clips of this batch, and leave "
            f"damaged ones out, or take a lower learning rate ({', '.join(paths)})."
        )

    def on_train_epoch_end(self) -> None:
        self.last_train_loss = self.train_loss.compute().item()
        train_top1 = self.train_top1.compute().item()
        self.log("train/loss", self.last_train_loss)
        self.log("train/top1", train_top1)
        trained = self.current_epoch + 1, self.last_train_loss, train_top1
        self.curve.append(Epoch(*trained, self.last_val_loss, self.last_val_top1))
        for name, value in flow_scalars(self.model):
            self.log(f"flow/{name}", value)
        self.train_loss.reset()
        self.train_top1.reset()
        schedule = self.lr_schedulers()
        if isinstance(schedule, ReduceLROnPlateau):
            watched = self.last_train_loss if self.last_val_loss is None else self.last_val_loss
            schedule.step(watched)

    # --- evaluation

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.val_accuracy.update(self.scores(batch), batch.label, batch.index, batch.unread)

    def on_validation_epoch_end(self) -> None:
        found = self.val_accuracy.compute()
        assert found.loss is not None
        self.last_val_top1, self.last_val_loss = found.top1, found.loss
        self.log("val/loss", found.loss)
        self.log("val/top1", found.top1)
        self.val_accuracy.reset()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        self.test_accuracy.update(self.scores(batch), batch.label, batch.index, batch.unread)

    def on_test_epoch_end(self) -> None:
        """Lightning's hook.

        Errors: UserError, on all ranks, where a video's scores are no numbers: the last step's
        weights, or the averages of batch norm, may overflow where no loss did.
        """
        self.test_result = self.test_accuracy.compute()
        if lost := self.test_accuracy.without_numbers():
            videos = self.trainer.datamodule.video_set.part("test")  # type: ignore[attr-defined]
            raise UserError(
                f"the scores of {len(lost)} of {len(videos)} test videos, as "
                f"{videos[lost[0]].path}, are no numbers, though the loss was one to the end: the "
                "training diverged; take a lower learning rate."
            )
        self.test_answers = self.test_accuracy.of_each_video()
        self.log("test/top1", self.test_result.top1)
        self.log("test/top5", self.test_result.top5)
        assert self.test_result.clip_top1 is not None  # of a test of its own
        self.log("test/clip_top1", self.test_result.clip_top1)
        self.test_accuracy.reset()

    def take_answers(self, found: Predictions) -> None:
        """Have them as the answers of the test."""
        rank = torch.from_numpy(found.rank)
        self.test_answers = rank, torch.from_numpy(found.scores)
        top1, top5 = ((rank < best).double().mean().item() for best in (1, 5))
        unread = int((rank >= self.classes).sum())
        self.test_result = Accuracies(top1, top5, None, None, len(rank), unread)

    # --- optimisation

    def configure_optimizers(self) -> OptimizerLRScheduler:
        recipe = self.spec.recipe
        optimiser = build_optimiser(self.model, recipe)
        schedule: LRSchedulerConfigType
        if recipe.schedule == "one_cycle":
            rates = [group["lr"] for group in optimiser.param_groups]
            steps = int(self.trainer.estimated_stepping_batches)
            # SGD has the recipe's momentum; AdamW has none of it, and its first beta goes round.
            betas = recipe.optimiser == "adamw"
            cycle = OneCycleLR(optimiser, max_lr=rates, total_steps=steps, cycle_momentum=betas)
            schedule = {"scheduler": cycle, "interval": "step"}
        elif recipe.schedule == "step":
            schedule = {"scheduler": StepLR(optimiser, 12, gamma=0.1)}
        else:
            monitor = "val/loss" if len(self.val_accuracy.rank) else "train/loss"
            plateau = ReduceLROnPlateau(optimiser, patience=7)
            schedule = {"scheduler": plateau, "monitor": monitor}
        return {"optimizer": optimiser, "lr_scheduler": schedule}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        # Lightning steps a plateau after it has saved the epoch, and not at all in an epoch that
        # was resumed, so on_train_epoch_end does it.
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    # --- what a resumed run must know beside Lightning's own state

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["last_epoch"] = {
            "train_loss": self.last_train_loss,
            "val_top1": self.last_val_top1,
        }
        checkpoint["curve"] = [dataclasses.astuple(epoch) for epoch in self.curve]
        checkpoint["this_epoch"] = [saved_sums(metric) for metric in self._of_this_epoch]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.last_train_loss = checkpoint["last_epoch"]["train_loss"]
        self.last_val_top1 = checkpoint["last_epoch"]["val_top1"]
        # Older checkpoints have no curve, and are of the end of an epoch.
        self.curve = [Epoch(*epoch) for epoch in checkpoint.get("curve", [])]
        if "this_epoch" in checkpoint:
            for metric, sums in zip(self._of_this_epoch, checkpoint["this_epoch"], strict=True):
                restore_sums(metric, sums)

    @property
    def _of_this_epoch(self) -> tuple[Metric, ...]:
        return self.train_loss, self.train_top1


def build_optimiser(model: nn.Module, recipe: RecipeSpec) -> torch.optim.Optimizer:
    """The recipe's optimiser; the flow's parameters learn at a rate of their own."""
    groups = parameter_groups(model, recipe.lr, recipe.lr * recipe.flow_lr_factor)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)


def parameter_groups(model: nn.Module, lr: float, flow_lr: float) -> list[dict[str, Any]]:
    """All trained parameters; those of Alg. 1 and of TVNet in a group of their own (the last)."""
    flow = [
        parameter
        for layer in model.modules()
        if isinstance(layer, FlowIteration | TVNet)
        for parameter in layer.parameters()
        if parameter.requires_grad
    ]
    of_flow = {id(parameter) for parameter in flow}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in of_flow]
    groups = [{"params": rest, "lr": lr, "name": "network"}]
    if flow:
        groups.append({"params": flow, "lr": flow_lr, "name": "flow"})
    return groups


def flow_scalars(model: nn.Module) -> list[tuple[str, Tensor]]:
    """(name, value) of theta, lambda and tau, as every flow layer uses them, for the curves."""
    layers = flow_layers(model)
    return [
        (name if len(layers) == 1 else f"{name}_{number}", positive(value.detach()))
        for number, layer in enumerate(layers, start=1)
        for name, value in (("theta", layer.theta), ("lambda", layer.lam), ("tau", layer.tau))
    ]
