"""SIGTERM ends a training after the step under way, with a checkpoint to go on from just there."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from repflow_pl.errors import Terminated
from repflow_pl.training.checkpoint import LAST
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.recording.curve import write_curve

_BEFORE_FIRST_BATCH = {"ready": 1, "started": 1, "processed": 0, "completed": 0}


class RunCheckpoint(ModelCheckpoint):
    """Saves last.ckpt after every epoch; at a SIGTERM also amid one, and then raises Terminated.

    `curve`: where the curve so far is written beside it; None where it is not to be.

    A further SIGTERM does not disturb the saving. The processes of one run all save and end after
    the same step, whichever of them was asked.
    """

    def __init__(self, folder: Path, curve: Path | None = None) -> None:
        super().__init__(
            dirpath=folder,
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self.path = folder / LAST
        self.curve = curve
        self.asked = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if threading.current_thread() is threading.main_thread():
            # Lightning has kept the handler that was there and brings it back after the training.
            signal.signal(signal.SIGTERM, self._ask)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *step: Any
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, *step)
        # After the last batch the epoch is ended, or its validation begun, before anything is
        # saved: Lightning would take the epoch for done.
        if not trainer.is_last_batch and self._is_asked(trainer):
            self._save_and_end(trainer)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *step: Any
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING and self._is_asked(trainer):
            # What was measured so far is not saved, so validation is to begin anew. Lightning goes
            # on with the part that is left, which is all of it if it was cut off in batch 0.
            progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
            progress.total.load_state_dict(_BEFORE_FIRST_BATCH)
            progress.current.load_state_dict(_BEFORE_FIRST_BATCH)
            progress.is_last_batch = False
            self._save_and_end(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self.curve is not None and trainer.is_global_zero:
            assert isinstance(pl_module, VideoClassifier)
            write_curve(self.curve, pl_module.curve)
        if self._is_asked(trainer):
            raise Terminated

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def _is_asked(self, trainer: L.Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(self.asked, all=False)

    def _save_and_end(self, trainer: L.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        raise Terminated
