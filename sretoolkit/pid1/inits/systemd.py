"""systemd as the first process of a container."""

from __future__ import annotations

from sretoolkit.pid1.init import GRACE, Kind, Stop
from sretoolkit.pid1.process import Init
from sretoolkit.pid1.signals import RTMIN


class Systemd(Kind):
    """Reaps; shuts down at SIGRTMIN+3, while SIGTERM makes it start itself anew."""

    names = frozenset({"systemd"})
    reaps = "yes"

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """Only SIGRTMIN+3 (halt) or SIGRTMIN+4 (power off) will do."""
        if which in (RTMIN + 3, RTMIN + 4):
            return Stop("handled", "systemd shuts down at this signal")
        why = "systemd shuts down at SIGRTMIN+3; at SIGTERM it starts itself anew, and is killed after the grace period"
        if assumed:
            why += "; which signal is configured cannot be seen here"
            return Stop("uncertain", why, "inferred", "low", "stop-signal", "SIGRTMIN+3")
        return Stop("killed", why, "inferred", "high", "stop-signal", "SIGRTMIN+3")

    def tells(self, init: Init, *, direct: bool) -> bool:
        """It stops its units one by one."""
        return True
