"""Backbones by name; importing the package registers them all."""

from repflow_pl.backbones import resnet as _resnet  # noqa: F401  (registers its entries)
from repflow_pl.backbones.registry import Backbone, Block, backbone, backbone_names, build_backbone

__all__ = ["Backbone", "Block", "backbone", "backbone_names", "build_backbone"]
