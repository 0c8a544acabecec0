"""What is done with a whole set besides training on it: checked, unpacked, made small, described;
what a split leaks is for `repflow_pl.audit`."""
