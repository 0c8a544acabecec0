"""Runs are started here: one loop over all that are to be made, and places that make them."""

from repflow_pl.extras import needs

needs("train", signals=True)
