"""What a network costs: parameters, operations, memory, milliseconds; how good it is, is not
here."""
