"""Backbones by name; importing the package registers them all."""

from repflow_pl.extras import needs

with needs("video"):
    from repflow_pl.backbones import equal_cost as _equal_cost  # noqa: F401  (registers its entries)
    from repflow_pl.backbones import inception as _inception  # noqa: F401
    from repflow_pl.backbones import inflated_resnet as _inflated_resnet  # noqa: F401
    from repflow_pl.backbones import resnet as _resnet  # noqa: F401
    from repflow_pl.backbones import shifted_resnet as _shifted_resnet  # noqa: F401
    from repflow_pl.backbones import video_resnet as _video_resnet  # noqa: F401
    from repflow_pl.backbones.pretrained import Input
    from repflow_pl.backbones.registry import (
        Backbone,
        Behind,
        Block,
        backbone,
        backbone_names,
        build_backbone,
        is_volumetric,
        pretrained_names,
    )

__all__ = [
    "Backbone",
    "Behind",
    "Block",
    "Input",
    "backbone",
    "backbone_names",
    "build_backbone",
    "is_volumetric",
    "pretrained_names",
]
