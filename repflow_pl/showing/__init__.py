"""Trained networks taken to videos of one's own: their answers, their flow, their export."""
