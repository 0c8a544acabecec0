"""Tensors as the CUDA kernels of cuda/flow.cu take them: its structures, field by field."""

from __future__ import annotations

import ctypes
import math

from torch import Tensor


class Planes(ctypes.Structure):
    """Where the planes of a tensor begin."""

    _fields_ = (
        ("channels", ctypes.c_int),
        ("inner", ctypes.c_int),
        ("channel", ctypes.c_longlong),
        ("within", ctypes.c_longlong),
        ("outer", ctypes.c_longlong),
    )


class Inputs(ctypes.Structure):
    """Frames and parameters."""

    _fields_ = (
        ("frame1", ctypes.c_void_p),
        ("frame2", ctypes.c_void_p),
        ("taps", ctypes.c_void_p),
        ("scalars", ctypes.c_void_p),
        ("planes1", Planes),
        ("planes2", Planes),
        ("n_planes", ctypes.c_int),
        ("n_iter", ctypes.c_int),
    )


class Flow(ctypes.Structure):
    """A flow, or its cotangent."""

    _fields_ = (("pixels", ctypes.c_void_p), ("planes", Planes))


class Gradients(ctypes.Structure):
    """Of the frames and, by plane, of the parameters; and room for states."""

    _fields_ = (
        ("grad1", ctypes.c_void_p),
        ("grad2", ctypes.c_void_p),
        ("planes", Planes),
        ("sums", ctypes.c_void_p),
        ("stored", ctypes.c_void_p),
        ("segments", ctypes.c_int),
    )


def inputs_of(frame1: Tensor, frame2: Tensor, taps: Tensor, scalars: Tensor, n_iter: int) -> Inputs:
    """Of frames that :func:`addressable` has seen, taps [C, 26], scalars [3]."""
    n_planes = math.prod(frame1.shape[:-2])
    pointers = [t.data_ptr() for t in (frame1, frame2, taps, scalars)]
    return Inputs(*pointers, planes_of(frame1), planes_of(frame2), n_planes, n_iter)


def flow_of(flow: Tensor) -> Flow:
    """Of a flow [..., 2 C, H, W] that :func:`addressable` has seen."""
    return Flow(flow.data_ptr(), planes_of(flow))


def addressable(tensor: Tensor) -> Tensor:
    """The tensor [..., C, H, W] or, where the kernels cannot address its planes, a copy."""
    pixels_in_order = tensor.stride()[-2:] == (tensor.shape[-1], 1)
    return tensor if pixels_in_order and len(_batch(tensor)) <= 2 else tensor.contiguous()


def planes_of(tensor: Tensor) -> Planes:
    """Of a tensor that :func:`addressable` has seen."""
    (_, outer), (inner, within) = [(1, 0), (1, 0), *_batch(tensor)][-2:]
    return Planes(tensor.shape[-3], inner, tensor.stride(-3), within, outer)


def _batch(tensor: Tensor) -> list[tuple[int, int]]:
    """Sizes and strides of the dimensions before the channels, those that follow on joined."""
    found: list[tuple[int, int]] = []
    for size, stride in zip(tensor.shape[:-3], tensor.stride()[:-3], strict=True):
        if size == 1:
            continue
        if found and found[-1][1] == size * stride:
            found[-1] = (found[-1][0] * size, stride)
        else:
            found.append((size, stride))
    return found
