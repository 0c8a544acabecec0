"""From a video file to pictures, by PyAV or decord, in processes that may die of it; what is kept
of the pictures is in `frames`, what else codecs hold in `fields`."""
