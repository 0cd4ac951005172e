"""One module for each operating system, named as ``uname -s`` prints it, in small letters."""
