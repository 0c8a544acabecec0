"""Which runs are to be made, where, on what and by whom, known without a trainer; who starts their
processes is in `repflow_pl.launching`."""
