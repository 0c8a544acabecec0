"""Pure functions on tensors; this folder imports torch and nothing else."""

from repflow_pl.ops.flow import (
    BACKENDS,
    available_backends,
    chosen_backend,
    flow_flops,
    is_transformed,
    joined_flow,
    representation_flow,
)
from repflow_pl.ops.flow_dense import dense_flow, dense_kernels
from repflow_pl.ops.flow_inputs import FlowKernels, central_kernels, sobel_kernels

__all__ = [
    "BACKENDS",
    "FlowKernels",
    "available_backends",
    "central_kernels",
    "chosen_backend",
    "dense_flow",
    "dense_kernels",
    "flow_flops",
    "is_transformed",
    "joined_flow",
    "representation_flow",
    "sobel_kernels",
]
