"""The microkernel: Debian's kernel, busybox and a few shell files; it tells what a machine is and does what it is told.

`build` makes it; ``root/`` is what runs in it.
"""
