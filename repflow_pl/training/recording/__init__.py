"""The files that are left of a run, written and read without a trainer: result, curve, predictions;
what is told while it goes on is in `following`."""
