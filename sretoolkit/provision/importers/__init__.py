"""Systems that can be imported from."""
