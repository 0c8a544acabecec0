"""Representation Flow for Action Recognition: the layer, its placements, the paper's tables."""

__version__ = "0.1.0"
