"""What small inits have in common: they reap, and pass the signal on to their child or its whole group."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import PurePosixPath
from typing import ClassVar

from sretoolkit.pid1.init import GRACE, Reaps, Stop, own_options
from sretoolkit.pid1.inits._scripted import trapped
from sretoolkit.pid1.inits.plain import Plain
from sretoolkit.pid1.process import Init, Process
from sretoolkit.pid1.scripts import SHELLS
from sretoolkit.pid1.signals import disposition, has


class Forwarding(Plain):
    """An init with one child that does the work."""

    reaps: ClassVar[Reaps] = "yes"

    @abstractmethod
    def group(self, options: list[str]) -> bool:
        """Whether it signals the whole process group, by its own options."""

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """It exits as its child does; so what counts is what the child does with the signal."""
        if disposition(init, which) in ("dropped", "ignored", "blocked", "unknown"):
            return super().stop(init, which, assumed=assumed)
        if not init.children:
            return Stop("handled", f"{init.program} takes the signal; it has no child now")
        child = min(init.children, key=lambda each: each.pid)
        return self._by_child(init, child, self.passes(init, which), grace)

    def passes(self, init: Init, which: int) -> int:
        """The signal that it passes on for this one."""
        return which

    def tells(self, init: Init, *, direct: bool) -> bool:
        """Its child, or all in the group."""
        return direct or self.group(own_options(init))

    def _by_child(self, init: Init, child: Process, which: int, grace: float) -> Stop:
        if has(child.blocked, which) and (stop := self._blocked(init, child, which)):
            return stop
        if has(child.ignored, which):
            why = f"{init.program} passes it on, but its child {child.name} ignores it"
            return Stop("ignored", why, "certain", "high", "handle", child.name)
        if not _stays(child) or not child.children:
            return Stop("handled", f"{init.program} passes it on to {child.name}")
        told = self.group(own_options(init))
        below = [each for each in init.below if each.parent == child.pid]
        if has(child.caught, which):
            stop = trapped(child, below, which, grace, told=told)
            return replace(stop, why=f"{init.program} passes it on: {stop.why}")
        if told:
            why = (
                f"{init.program} tells the shell {child.name} and the program behind it; the shell ends at once, "
                f"{init.program} with it, and the kernel kills the program while it shuts down"
            )
            return Stop("cut off", why, "inferred", "medium", "exec-behind")
        why = (
            f"{init.program} passes it on to the shell {child.name}, which ends at once and passes nothing on: the "
            "program behind it is killed without warning, and the exit looks clean"
        )
        return Stop("not passed on", why, "inferred", "high", "exec-behind")

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


def _stays(child: Process) -> bool:
    """Whether it is a shell; one that runs a script as a program goes by the script's name."""
    called = PurePosixPath(child.arguments[0]).name.lstrip("-") if child.arguments else ""
    return child.name in SHELLS or called in SHELLS
