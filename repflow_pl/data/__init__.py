"""Data sets, from files on disk to batches of clips.

Importing the package registers the data sets; it stays light, so that a script which only has to
look at a finished table does not wait for torch or a video decoder.
"""

from repflow_pl.extras import needs

with needs("video", signals=True):
    from repflow_pl.data import folder, hmdb51, kinetics, motion_shapes, ucf101, ut_interaction

__all__ = ["folder", "hmdb51", "kinetics", "motion_shapes", "ucf101", "ut_interaction"]
