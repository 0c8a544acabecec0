"""What to know of a set of videos before any figure on it is trusted."""
