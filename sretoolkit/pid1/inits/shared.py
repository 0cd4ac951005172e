"""A program in a namespace that it shares: it is not PID 1, and the kernel treats it as any other process."""

from __future__ import annotations

from sretoolkit.pid1.init import GRACE, Kind, Stop
from sretoolkit.pid1.process import Init, Process
from sretoolkit.pid1.scripts import SHELLS
from sretoolkit.pid1.signals import has
from sretoolkit.pid1.traps import text_of, trap

_HARMLESS = frozenset({17, 18, 23, 28})  # SIGCHLD, SIGCONT, SIGURG, SIGWINCH: the default action is to do nothing


class Shared(Kind):
    """Signals with default action reach it; known by where it is, not by its name."""

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """By the masks alone: what waits for a blocked signal is not looked at."""
        process = init.process
        if has(process.ignored, which):
            return Stop("ignored", "it ignores the signal", "certain", "high", "handle", init.program)
        if has(process.blocked, which):
            return Stop("unknown", "it blocks the signal, or waits for it")
        if init.program in SHELLS and process.children:
            return _shell(process, which)
        if has(process.caught, which):
            return Stop("handled", "it has a handler for it; what the handler does cannot be seen")
        if which in _HARMLESS:
            return Stop(
                "ignored", "the signal's default action is to do nothing", "certain", "high", "handle", init.program
            )
        return Stop("handled", "it is not PID 1: the signal's default action ends it", "certain")


def _shell(shell: Process, which: int) -> Stop:
    """A container ends when its first process does, and what the shell has started is killed then."""
    if not has(shell.caught, which):
        why = "the shell ends by it and passes nothing on: the program behind it is killed with its container"
        return Stop("not passed on", why, "inferred", "high", "exec")
    found = trap(text_of(shell.arguments, shell.script), which)
    if found and found.ends and found.tells and found.waits:
        return Stop("handled", "the shell's trap tells what it has started and waits for it, as its script says")
    why = "the shell has a trap; whether the program behind it is told and waited for cannot be seen"
    return Stop("uncertain", why, "inferred", "low", "exec")
