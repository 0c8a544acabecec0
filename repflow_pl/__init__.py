"""Representation Flow for Action Recognition: the layer, its placements, the paper's tables.

`from repflow_pl import RepFlow, FlowStack, representation_flow` needs torch and numpy alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repflow_pl.layers.flow import RepFlow
    from repflow_pl.layers.flow_stack import FlowStack
    from repflow_pl.ops import representation_flow

__version__ = "0.1.0"
__all__ = ["FlowStack", "RepFlow", "__version__", "representation_flow"]

_PLACES = {
    "RepFlow": "repflow_pl.layers.flow",
    "FlowStack": "repflow_pl.layers.flow_stack",
    "representation_flow": "repflow_pl.ops",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for: what reads a finished table needs no torch."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
