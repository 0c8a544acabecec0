"""Motion from frame to frame that is computed outside of a network: TV-L1, RAFT and the codec's
vectors, and where they are kept; the flow layer is in `repflow_pl.layers`."""
