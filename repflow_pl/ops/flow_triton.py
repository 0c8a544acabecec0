"""Launches of the Triton kernels of the fused CUDA backend.

Imported by :mod:`repflow_pl.ops.flow_cuda` on first use; nothing else needs triton.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from repflow_pl.ops.flow_op import segment_length
from repflow_pl.ops.flow_triton_backward import ADJOINT, backward_kernel
from repflow_pl.ops.flow_triton_forward import FIXED, N_SUMS, STATE, forward_kernel

#: Pixels of a tile and of a warp's share of it: two a thread, which lets the backward keep its
#: pixel-by-pixel sums in registers.
TILE, PIXELS_PER_WARP = 512, 64

#: Warps on a multiprocessor: what 64 registers a thread (forward) and 128 (backward) let it hold.
FORWARD_WARPS, BACKWARD_WARPS = 32, 16

#: Bytes of the backward's states up to which it keeps all of them; above, it keeps about
#: 2 sqrt(n_iter) and pays one more forward. The second-level cache of an H100.
CACHE_BYTES = 50 * 2**20

#: A product and a sum in one rounding is what the bounds were measured with; Triton 3.9 warns that
#: 3.10 has another default.
OPTIONS = {"num_stages": 1, "enable_fp_fusion": True}

#: Bytes up to which a scratch may grow; where planes are large, fewer programs then share it.
SCRATCH_BYTES = 2**30


def forward(
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    multiprocessors: int,
    flow: Tensor,
) -> None:
    """Writes the flow [..., 2 C, H, W] of frames [..., C, H, W]; taps [C, 26], scalars [3].

    All are contiguous; frames and flow of one dtype, taps and scalars of that of the arithmetic.
    """
    channels, height, width = frame1.shape[-3:]
    n_planes = frame1.numel() // (height * width)
    tile = _tile_of(height, width)
    programs = min(n_planes, _programs(FORWARD_WARPS, tile, multiprocessors))
    scratch = _scratch(frame1, taps.dtype, programs, int(FIXED + STATE))
    forward_kernel[(len(scratch),)](
        frame1, frame2, taps, scalars, flow, scratch, n_planes, channels, n_iter,
        HEIGHT=height, WIDTH=width, ROWS=tile.rows, COLUMNS=tile.columns,
        num_warps=tile.warps, **OPTIONS,
    )  # fmt: skip


def backward(
    cotangent: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_sums: bool,
    multiprocessors: int,
    grad1: Tensor,
    grad2: Tensor,
) -> Tensor:
    """Writes the gradients of both frames; if ``with_sums``, the parameters' [C, 29], float64.

    Tensors as for :func:`forward`, the cotangent as the flow; n_iter >= 1.
    """
    channels, height, width = frame1.shape[-3:]
    n_planes = frame1.numel() // (height * width)
    sums = frame1.new_zeros(n_planes // channels, channels, int(N_SUMS), dtype=torch.float64)
    tile = _tile_of(height, width)
    scratch, segment = _backward_scratch(frame1, taps.dtype, n_iter, tile, multiprocessors)
    backward_kernel[(len(scratch),)](
        frame1, frame2, taps, scalars, cotangent, grad1, grad2, sums, scratch,
        n_planes, channels, n_iter, segment, WITH_SUMS=with_sums,
        HEIGHT=height, WIDTH=width, ROWS=tile.rows, COLUMNS=tile.columns,
        num_warps=tile.warps, **OPTIONS,
    )  # fmt: skip
    return sums.sum(0)


class _Tile(NamedTuple):
    rows: int
    columns: int
    warps: int


def _tile_of(height: int, width: int) -> _Tile:
    columns = triton.next_power_of_2(width)
    rows = min(triton.next_power_of_2(height), max(1, TILE // columns))
    return _Tile(rows, columns, max(1, rows * columns // PIXELS_PER_WARP))


def _backward_scratch(
    frame: Tensor, dtype: torch.dtype, n_iter: int, tile: _Tile, multiprocessors: int
) -> tuple[Tensor, int]:
    """The scratch, and the iterations between two checkpoints."""
    height, width = frame.shape[-2:]
    n_planes = frame.numel() // (height * width)
    programs = min(n_planes, _programs(BACKWARD_WARPS, tile, multiprocessors))
    state_bytes = int(STATE) * height * width * dtype.itemsize
    segment = segment_length(n_iter, programs * state_bytes, CACHE_BYTES)
    n_segments = -(-n_iter // segment)
    fields = int(FIXED + ADJOINT + STATE * (segment + n_segments))
    return _scratch(frame, dtype, programs, fields), segment


def _programs(warps: int, tile: _Tile, multiprocessors: int) -> int:
    return max(1, warps // tile.warps) * multiprocessors


def _scratch(frame: Tensor, dtype: torch.dtype, programs: int, fields: int) -> Tensor:
    """[programs, fields, H, W], with fewer programs where they would need too many bytes."""
    height, width = frame.shape[-2:]
    program_bytes = fields * height * width * dtype.itemsize
    programs = max(1, min(programs, SCRATCH_BYTES // program_bytes))
    return frame.new_empty(programs, fields, height, width, dtype=dtype)
