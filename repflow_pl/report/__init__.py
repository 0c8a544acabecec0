"""The paper's tables with measured numbers, rendered from result files, without a trainer."""
