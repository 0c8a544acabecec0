"""Parts of experiments/bench_flow.py: one job a file."""
