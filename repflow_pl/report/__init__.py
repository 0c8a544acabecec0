"""The paper's tables with measured numbers, rendered from result files, without a trainer."""

from repflow_pl.extras import needs

needs("train", signals=True)
