"""What small inits have in common: they reap, and pass the signal on to their child or its whole group."""

from __future__ import annotations

from abc import abstractmethod

from sretoolkit.pid1.init import INITS, Stop, own_options
from sretoolkit.pid1.inits.plain import Plain
from sretoolkit.pid1.process import Init, Process
from sretoolkit.pid1.signals import disposition, has


class Forwarding(Plain):
    """An init with one child that does the work."""

    reaps = "yes"

    @abstractmethod
    def group(self, options: list[str]) -> bool:
        """Whether it signals the whole process group, by its own options."""

    def stop(self, init: Init, which: int, *, assumed: bool) -> Stop:
        """It exits as its child does; so what counts is what the child does with the signal."""
        if disposition(init, which) in ("dropped", "ignored", "blocked", "unknown"):
            return super().stop(init, which, assumed=assumed)
        if not init.children:
            return Stop("handled", f"{init.program} takes the signal; it has no child now")
        return self._by_child(init, min(init.children, key=lambda child: child.pid), which)

    def tells(self, init: Init, *, direct: bool) -> bool:
        """Its child, or all in the group."""
        return direct or self.group(own_options(init))

    def _by_child(self, init: Init, child: Process, which: int) -> Stop:
        if has(child.blocked, which) and (stop := self._blocked(init, child, which)):
            return stop
        if has(child.ignored, which):
            why = f"{init.program} passes it on, but its child {child.name} ignores it"
            return Stop("ignored", why, "certain", "high", "handle", child.name)
        if self.group(own_options(init)) or child.name not in INITS["shell"].names or not child.children:
            return Stop("handled", f"{init.program} passes it on to {child.name}")
        if has(child.caught, which):
            why = f"{init.program} passes it on to the shell {child.name}, which has a trap; its children are not told"
            return Stop("uncertain", why, "inferred", "low", "exec")
        why = (
            f"{init.program} passes it on to the shell {child.name}, which ends at once and passes nothing on: the "
            "program behind it is killed without warning, and the exit looks clean"
        )
        return Stop("not passed on", why, "inferred", "high", "group")

    def _blocked(self, init: Init, child: Process, which: int) -> Stop | None:
        """Its first thread blocks the signal; None when another one takes it as if nothing were blocked."""
        passes, waits = f"{init.program} passes it on to {child.name}", child.waits
        if waits is None:
            return Stop("unknown", f"{passes}, which blocks it or waits for it")
        if has(waits.sigwait | waits.signalfd, which):
            return Stop("handled", f"{passes}, which waits for it")
        if has(waits.all_block, which):
            why = f"{passes}, which blocks it in every thread, and none was waiting for it when we looked"
            return Stop("blocked", why, "inferred", "high", "handle", child.name)
        return None
