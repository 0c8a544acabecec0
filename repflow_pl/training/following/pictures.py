"""The flow field as a picture: direction as hue, length as saturation (the Middlebury wheel)."""

from __future__ import annotations

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.utils import flow_to_image

from repflow_pl.layers.flow import flow_layers
from repflow_pl.training.module import VideoClassifier


@torch.no_grad()
def flow_fields(model: nn.Module, clips: Tensor) -> Tensor:
    """The flow that the model's first flow layer sees between each clip's first two frames.

    It is the mean over the layer's channels, in pixels of the map that the layer stands on.
    Shapes: clips [B, 3, T, H, W] in -1..1 -> [B, 2, h, w], x (right) before y (down).
    Errors: ValueError for a model without a flow layer.
    """
    layer = next(iter(flow_layers(model)), None)
    if layer is None:
        raise ValueError("the model has no flow layer to picture")
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, args, flow: seen.append(flow))
    was_training = model.training
    model.eval()
    try:
        model(clips)
    finally:
        handle.remove()
        model.train(was_training)
    flow_x, flow_y = seen[0][:, 0].float().chunk(2, dim=1)  # of the first pair
    return torch.stack([flow_x.mean(1), flow_y.mean(1)], 1)


def flow_pictures(model: nn.Module, clips: Tensor) -> list[Tensor]:
    """One picture for each clip: its first frame, and the flow the model's layer sees there.

    The flow is drawn by torchvision's Baker et al. wheel, scaled to the longest vector of all.
    Shapes: clips [B, 3, T, H, W] in -1..1 -> B pictures, uint8 [3, H, 2 * W].
    Errors: ValueError for a model without a flow layer.
    """
    field = flow_fields(model, clips)
    pictures = F.interpolate(flow_to_image(field), size=clips.shape[-2:], mode="nearest")
    frames = ((clips[:, :, 0] + 1) * 127.5).round().to(torch.uint8)
    return list(torch.cat([frames, pictures], dim=3).cpu())


class FlowPictures(L.Callback):
    """Logs the flow of a few fixed clips of the test part, every few epochs.

    `clips`: float [B, 3, T, H, W] in -1..1. They are only looked at: nothing is chosen by them.
    """

    def __init__(self, clips: Tensor, every_epochs: int) -> None:
        self.clips = clips
        self.every_epochs = every_epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, VideoClassifier)
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.is_global_zero and (last or trainer.current_epoch % self.every_epochs == 0):
            pictures = flow_pictures(pl_module.model, self.clips.to(pl_module.device))
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    images = [picture.permute(1, 2, 0).numpy() for picture in pictures]
                    logger.log_image("flow/field", images, step=trainer.global_step)
                elif isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_images(
                        "flow/field", torch.stack(pictures), trainer.global_step
                    )
