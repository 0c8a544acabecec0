"""Data sets, from files on disk to batches of clips.

The rooms, in the order of their imports: `decoding`, `listing`, `sets`, `frames`, `fields`, and
`upkeep`. Here is what makes clips and batches of them, and `index`, through which a set is opened.

Importing the package registers the data sets; it stays light, so that a script which only has to
look at a finished table does not wait for torch or a video decoder.
"""

from repflow_pl.extras import needs

with needs("video", signals=True):
    from repflow_pl.data import sets

__all__ = ["sets"]
