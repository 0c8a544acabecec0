"""Progress that a person can follow: which row of how many, epoch, loss, accuracy, time left."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from repflow_pl.training.module import VideoClassifier


class EpochLines(L.Callback):
    """A line at the end of each epoch; on a terminal also a bar within it.

    `label` says which run of how many this is; the `runs_after` it are guessed to take as long as
    this one.
    """

    def __init__(self, console: Console, label: str, runs_after: int) -> None:
        self.console = console
        self.label = label
        self.runs_after = runs_after
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.start = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.monotonic()
        self.first_epoch = trainer.current_epoch
        if self.console.is_terminal and trainer.is_global_zero:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            steps = int(trainer.estimated_stepping_batches)
            self.task = self.bar.add_task(self.label, total=steps, completed=trainer.global_step)
            self.bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *step: Any
    ) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, VideoClassifier)
        metrics = trainer.callback_metrics
        done = trainer.current_epoch + 1
        assert trainer.max_epochs is not None
        each = (time.monotonic() - self.start) / (done - self.first_epoch)
        left = each * (trainer.max_epochs - done)
        # Lightning runs this hook before the module's own, which computes the epoch's mean loss.
        parts = [
            self.label,
            f"epoch {done}/{trainer.max_epochs}",
            f"loss {pl_module.train_loss.compute():.3f}",
            f"train {pl_module.train_top1.compute():.1%}",
        ]
        if "val/top1" in metrics:
            parts.append(f"val {metrics['val/top1']:.1%}")
        parts.append(f"{clock(left)} left")
        if self.runs_after:
            everything = left + self.runs_after * each * trainer.max_epochs
            parts.append(f"about {clock(everything)} for all runs")
        self.console.print(" · ".join(parts))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour.

    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
