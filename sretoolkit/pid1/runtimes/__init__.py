"""One module for each container runtime that can be asked for what it runs."""
