"""Pure functions on tensors; this folder imports torch and nothing else."""

from repflow_pl.ops.flow import (
    FlowKernels,
    available_backends,
    central_kernels,
    chosen_backend,
    flow_flops,
    representation_flow,
)

__all__ = [
    "FlowKernels",
    "available_backends",
    "central_kernels",
    "chosen_backend",
    "flow_flops",
    "representation_flow",
]
