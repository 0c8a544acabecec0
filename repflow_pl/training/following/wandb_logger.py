"""What Lightning logs with."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch.loggers import WandbLogger

from repflow_pl.training.following.wandb_client import spared


class SparingLogger(WandbLogger):
    """Lightning's logger of W&B, at whose errors the training goes on.

    Numbers and pictures go to a process beside this one, and no call waits for the server. That
    process may die, though, of an answer that it does not understand.
    """

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with spared():
            super().log_metrics(metrics, step)
