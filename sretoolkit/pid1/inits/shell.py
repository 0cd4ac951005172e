"""A shell as first process: it does not pass signals on, and a trap waits for the foreground child to end."""

from __future__ import annotations

from sretoolkit.pid1.init import GRACE, SIGINT, SIGQUIT, Stop
from sretoolkit.pid1.inits.plain import Plain as _Plain
from sretoolkit.pid1.process import Init, Process
from sretoolkit.pid1.signals import disposition, has


class Shell(_Plain):
    """sh, bash and their kin; they reap what they inherit while they wait."""

    names = frozenset({"sh", "dash", "bash", "ash", "zsh", "ksh", "mksh"})

    def stop(self, init: Init, which: int, *, assumed: bool) -> Stop:
        """Without a trap the signal is dropped; with one it may be deferred for too long."""
        found = disposition(init, which)
        if found == "dropped":
            why = "the shell has no trap: the kernel drops the signal, and a shell passes nothing on to its children"
            return Stop("dropped", why, super().stop(init, which, assumed=assumed).proof, "high", "exec")
        if found != "caught":
            return super().stop(init, which, assumed=assumed)
        front = [child for child in init.children if not _in_background(child)]
        if not front:
            return Stop("handled", "the shell has a trap, and no child in the foreground delays it")
        age = max((child.age or 0.0 for child in front), default=0.0)
        child = max(front, key=lambda each: each.age or 0.0).name
        if age < GRACE:
            why = (
                f"the shell's trap waits for its foreground child {child}, which is {age:.0f} s old; it may end in time"
            )
            return Stop("uncertain", why, "inferred", "low", "background", child)
        why = f"the shell's trap waits for its foreground child {child}, which has run for {age:.0f} s already"
        return Stop("deferred", why, "inferred", "high", "background", child)


def _in_background(child: Process) -> bool:
    """A shell without job control starts a background child with SIGINT and SIGQUIT ignored."""
    return has(child.ignored, SIGINT) and has(child.ignored, SIGQUIT)
