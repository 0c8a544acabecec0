"""The data sets by name, a file each, with their official lists; how any of them is checked, opened
and kept is not here."""

from repflow_pl.data.sets import folder, hmdb51, kinetics, motion_shapes, ucf101, ut_interaction

__all__ = ["folder", "hmdb51", "kinetics", "motion_shapes", "ucf101", "ut_interaction"]
