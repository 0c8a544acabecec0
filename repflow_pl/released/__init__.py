"""The networks of the authors' repository, for their weights alone: who trains anew builds with
`repflow_pl.models`."""
