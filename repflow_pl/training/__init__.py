"""One run: training, evaluation, and the files that are left of it."""
