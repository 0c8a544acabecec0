"""The kernels of cuda/flow.cu on tensors: which tiling, what memory, how many blocks."""

from __future__ import annotations

import ctypes
from typing import Protocol

import torch
from torch import Tensor

from repflow_pl.ops.flow_cuda_arguments import Gradients, addressable, flow_of, inputs_of, planes_of
from repflow_pl.ops.flow_cuda_code import FRAMES, Code
from repflow_pl.ops.flow_cuda_tiling import REAL_BYTES, Gpu, Tiling, backward_tiling, forward_tiling

#: Bytes up to which the backward's stored states may grow; fewer blocks then share the planes.
STORED_BYTES = 2**30

N_SUMS = 29  # of a plane: 26 taps, theta, lambda, tau


class Launch(Protocol):
    """Starts a kernel on so many blocks; False where it cannot be loaded."""

    def __call__(self, code: Code, blocks: int, *arguments: ctypes.Structure) -> bool: ...


def forward(
    gpu: Gpu,
    launch: Launch,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    flow: Tensor,
) -> bool:
    """Write the flow [..., 2 C, H, W] of frames [..., C, H, W]; False where no kernel fits.

    Frames and flow are of 16 or 32 bits; taps [C, 26] and scalars [3], contiguous, float32.
    """
    height, width = frame1.shape[-2:]
    n_planes = frame1.numel() // (height * width)
    tiling = forward_tiling(gpu, n_planes, height, width)
    if tiling is None or frame1.dtype not in FRAMES:
        return False
    frame1, frame2 = addressable(frame1), addressable(frame2)
    return launch(
        Code(tiling, frame1.dtype),
        tiling.groups(n_planes) * tiling.bands,
        inputs_of(frame1, frame2, taps, scalars, n_iter),
        flow_of(flow),
    )


def backward(
    gpu: Gpu,
    launch: Launch,
    cotangent: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_sums: bool,
    grad1: Tensor,
    grad2: Tensor,
) -> Tensor | None:
    """Write the frames' gradients; the parameters' [C, 29], float64; None where no kernel fits.

    Arguments as for :func:`forward`, the cotangent as the flow; n_iter >= 1. Without `with_sums`
    anything may stand in the parameters'.
    """
    channels, height, width = frame1.shape[-3:]
    n_planes = frame1.numel() // (height * width)
    tiling = backward_tiling(gpu, n_planes, height, width)
    if tiling is None or frame1.dtype not in FRAMES:
        return None
    frame1, frame2 = addressable(frame1), addressable(frame2)
    cotangent = addressable(cotangent)
    stored = frame1.new_empty(_stored(gpu, tiling, n_planes, n_iter), dtype=taps.dtype)
    sums = frame1.new_empty(n_planes, tiling.bands, N_SUMS, dtype=torch.float64)
    gradients = Gradients(
        grad1.data_ptr(), grad2.data_ptr(), planes_of(grad1), sums.data_ptr(), stored.data_ptr(),
        _segments(tiling, n_iter),
    )  # fmt: skip
    inputs = inputs_of(frame1, frame2, taps, scalars, n_iter)
    code = Code(tiling, frame1.dtype, with_sums)
    if not launch(code, len(stored), inputs, flow_of(cotangent), gradients):
        return None
    found: Tensor = sums.view(-1, channels, tiling.bands, N_SUMS).sum((0, 2))
    return found


def _segments(tiling: Tiling, n_iter: int) -> int:
    return -(-n_iter // (tiling.kept - 1))


def _stored(gpu: Gpu, tiling: Tiling, n_planes: int, n_iter: int) -> tuple[int, int, int]:
    """[blocks, states, numbers]: as many blocks as run at once, each with room for its states.

    The first state of all is zero, that of the last segment is in registers when it is needed.
    """
    states = max(0, _segments(tiling, n_iter) - 2)
    at_once = gpu.multiprocessors * tiling.blocks // tiling.bands
    group_bytes = max(1, tiling.bands * states * tiling.state * REAL_BYTES)
    groups = max(1, min(tiling.groups(n_planes), at_once, STORED_BYTES // group_bytes))
    return groups * tiling.bands, states, tiling.state
