"""One run: training, evaluation, and the files that are left of it.

The rooms, in the order of their imports: `recording`, `planning`, `costs` and `following`. Here is
what trains and evaluates: the Lightning module and what stands around it, and `run`.
"""
