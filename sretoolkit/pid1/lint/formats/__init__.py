"""One module for each kind of file that says how containers are started."""
