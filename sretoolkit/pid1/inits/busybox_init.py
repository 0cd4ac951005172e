"""The init of busybox."""

from __future__ import annotations

from sretoolkit.pid1.init import GRACE, SIGTERM, Stop
from sretoolkit.pid1.inits.plain import Plain as _Plain
from sretoolkit.pid1.process import Init

_SHUTDOWN = {10, 12, SIGTERM}  # SIGUSR1 halt, SIGUSR2 power off, SIGTERM reboot


class BusyboxInit(_Plain):
    """Shuts all down and then asks the kernel to reboot: without that right it stays (busybox, init/init.c)."""

    names = frozenset({"init"})
    reaps = "yes"

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """Docker and Podman give no container the right to reboot, unless they are told to."""
        if init.program not in ("busybox", "toybox") or which not in _SHUTDOWN:
            return super().stop(init, which, assumed=assumed, grace=grace)
        why = "busybox init ends all others and then asks for a reboot, which a container may not have: it stays"
        return Stop("killed", why, "inferred", "high", "init")
