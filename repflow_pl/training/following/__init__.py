"""What a person sees of a run while it goes on: lines, pictures, W&B, TensorBoard; a table needs
nothing of it."""
