"""runsvdir, of runit, without the runit that would shut it down."""

from __future__ import annotations

from sretoolkit.pid1.init import GRACE, SIGTERM, Stop
from sretoolkit.pid1.inits.plain import Plain as _Plain
from sretoolkit.pid1.process import Init
from sretoolkit.pid1.signals import disposition

_HUP = 1


class Runsvdir(_Plain):
    """Leaves its services to themselves at SIGTERM, and tells them at SIGHUP; it waits for them at neither (runsvdir(8))."""

    names = frozenset({"runsvdir"})
    reaps = "yes"  # looks for ended children every few seconds

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """With services, PID 1 is gone before they have shut down."""
        if which not in (_HUP, SIGTERM) or not init.children or disposition(init, which) != "caught":
            return super().stop(init, which, assumed=assumed, grace=grace)
        what = "a script before it that stops them and waits (sv force-stop)"
        if which == _HUP:
            why = "runsvdir tells its services to end and does not wait for them: what is left then is killed"
            return Stop("cut off", why, "inferred", "medium", "handle", what)
        why = "runsvdir ends at once and leaves its services as they are: they are killed without being told"
        return Stop("not passed on", why, "inferred", "high", "handle", what)
