"""One module for each kind of first process that is known."""
