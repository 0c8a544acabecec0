"""Batch norm over the whole batch, however many ranks share it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def share_batch_statistics(model: nn.Module, on_gpu: bool) -> None:
    """From now on every batch norm of `model` normalises by the batch of all ranks together.

    Parameters, buffers and their names stay. On GPUs it is torch's SyncBatchNorm, which refuses
    CPUs; there it is `WholeBatchNorm`.
    """
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, _BatchNorm) and not isinstance(layer, nn.SyncBatchNorm):
                shared = nn.SyncBatchNorm if on_gpu else WholeBatchNorm
                setattr(parent, name, _as(shared, layer))


class WholeBatchNorm(_BatchNorm):
    """Batch norm of [B, C, ...] by the mean and variance over all ranks, which have equal shares.

    Where there is one rank, and in evaluation, it is the ordinary one.
    """

    def forward(self, input: Tensor) -> Tensor:
        ranks = distributed.get_world_size() if distributed.is_initialized() else 1
        if not self.training or ranks == 1:
            return super().forward(input)
        mean, variance = _of_all_ranks(input, ranks)
        count = ranks * input.numel() // input.shape[1]
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = self.bias - mean * scale if self.affine else -mean * scale
        along_channels = (1, -1) + (1,) * (input.dim() - 2)
        whole = input * scale.view(along_channels) + shift.view(along_channels)
        return whole.to(input.dtype)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        """Into the running statistics, as torch does: the unbiased variance."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        count = float(self.num_batches_tracked)
        share = 1 / count if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm takes [B, C, ...], not {list(input.shape)}")


def _of_all_ranks(input: Tensor, ranks: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] of [B, C, ...], from those of every rank's share.

    Not from sums of squares, which cancel where the mean is large beside the deviation.
    """
    dims = [0, *range(2, input.dim())]
    precise = input.to(torch.promote_types(input.dtype, torch.float32))
    own = torch.stack(torch.var_mean(precise, dims, correction=0))
    place = torch.zeros(ranks, 1, 1, device=own.device, dtype=own.dtype)
    place[distributed.get_rank()] = 1
    variances, means = _Sum.apply(place * own).unbind(1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all ranks. Each rank has a loss of its own that depends on it, so
    its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return cast(Tensor, _Sum.apply(gradient.contiguous()))


def _as(kind: type[_BatchNorm], layer: _BatchNorm) -> _BatchNorm:
    """A layer of another kind with all that a layer has: its settings, parameters and buffers."""
    made = kind(layer.num_features, device=torch.device("meta"))
    vars(made).update(vars(layer))
    return made
