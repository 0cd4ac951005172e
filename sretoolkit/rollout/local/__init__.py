"""A service of processes on this machine, its proxy and its load: what the demo, Binder and tests roll out, without root.

``keeper`` is one process that starts and watches the instances and passes requests on to them; ``shop`` is the service itself,
``load`` its customers. ``open_shop`` starts all three and ends them.
"""
