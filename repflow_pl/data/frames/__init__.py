"""Frames cropped and resized as clips need them, read from a cache or decoded; which of them are a
clip is not decided here."""
