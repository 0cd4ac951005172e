"""One module for each way to know which hosts there are."""
