"""A shell as first process: it does not pass signals on, and a trap waits for the foreground child to end."""

from __future__ import annotations

from sretoolkit.pid1.init import GRACE, Stop
from sretoolkit.pid1.inits._scripted import trapped as _trapped
from sretoolkit.pid1.inits.plain import Plain as _Plain
from sretoolkit.pid1.process import Init
from sretoolkit.pid1.scripts import SHELLS
from sretoolkit.pid1.signals import disposition


class Shell(_Plain):
    """sh, bash and their kin; they reap what they inherit while they wait."""

    names = SHELLS

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """Without a trap the signal is dropped; with one it may be deferred for too long, or end the shell alone."""
        found = disposition(init, which)
        if found == "dropped":
            why = "the shell has no trap: the kernel drops the signal, and a shell passes nothing on to its children"
            return Stop("dropped", why, super().stop(init, which, assumed=assumed).proof, "high", "exec")
        if found != "caught":
            return super().stop(init, which, assumed=assumed)
        return _trapped(init.process, init.children, which, grace, told=False)
