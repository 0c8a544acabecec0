"""Data sets, from files on disk to batches of clips.

Importing the package registers the data sets; it stays light, so that a script which only has to
look at a finished table does not wait for torch or a video decoder.
"""

from repflow_pl.data import folder, motion_shapes, ut_interaction

__all__ = ["folder", "motion_shapes", "ut_interaction"]
