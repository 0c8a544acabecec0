"""What a set is made of: its lists, where their files lie, and what was found in each file. No set
is here (`sets`), and none is opened (`repflow_pl.data.index`)."""
