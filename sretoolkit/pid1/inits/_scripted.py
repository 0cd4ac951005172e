"""What a shell's script tells: what becomes of the program behind it, as PID 1 and behind an init."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sretoolkit.pid1.init import SIGINT, SIGQUIT, Stop
from sretoolkit.pid1.process import Process
from sretoolkit.pid1.signals import has
from sretoolkit.pid1.traps import text_of, trap

_NAP = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def trapped(shell: Process, below: Sequence[Process], which: int, grace: float, *, told: bool) -> Stop:
    """What comes of a signal that a shell has a trap for; ``told``: its children get it as well, from the init."""
    if below and _in_background(shell):
        why = f"the shell {shell.name} was itself started with SIGINT and SIGQUIT ignored: whether {below[0].name} is in its"
        return Stop("uncertain", f"{why} background cannot be seen", "inferred", "low", "exec")
    front = [child for child in below if not _in_background(child)]
    if front and not told and (late := _late(front, grace)):
        return late
    behind = [child for child in below if _in_background(child) and _cares(child, which)]
    found = trap(text_of(shell.arguments, shell.script), which)
    if found is None:
        if not behind:
            return Stop("handled", "the shell has a trap, and no child in the foreground delays it")
        why = f"the shell {shell.name} has a trap; whether it tells {behind[0].name} cannot be read from its script"
        return Stop("uncertain", why, "inferred", "low", "exec")
    if not found.ends:
        why = "the shell's trap neither ends it nor leaves its loop, as its script says"
        return Stop("killed", why, "inferred", "high", "handle", "the shell's trap (exit)")
    if found.waits and below and not (told or found.tells):
        why = f"the shell's trap waits for {below[0].name}, which nobody tells to end, as its script says"
        return Stop("deferred", why, "inferred", "high", "exec")
    if not behind or (found.waits and (told or found.tells)):
        return Stop("handled", "the shell's trap ends it, and nobody who wants to be told is left, as its script says")
    name = behind[0].name
    if told or found.tells:
        why = f"the shell ends without waiting for {name}, as its script says: what is left then is killed"
        return Stop("cut off", why, "inferred", "medium", "exec")
    why = f"the shell's trap ends it and does not tell {name}, as its script says: that is killed without warning"
    return Stop("not passed on", why, "inferred", "high", "exec")


def _late(front: Sequence[Process], grace: float) -> Stop | None:
    """A trap runs when the foreground child has ended."""
    child = max(front, key=lambda each: each.age or 0.0)
    nap = max(map(_nap, front)) if all(each.name == "sleep" and each.arguments for each in front) else None
    age = child.age or 0.0
    if nap is not None and nap < grace:
        return None
    if age >= grace or (nap is not None and nap - age >= grace):
        why = f"the shell's trap waits for its foreground child {child.name}, which has run for {age:.0f} s already"
        return Stop("deferred", why, "inferred", "high", "background", child.name)
    why = f"the shell's trap waits for its foreground child {child.name}, which is {age:.0f} s old; it may end in time"
    return Stop("uncertain", why, "inferred", "low", "background", child.name)


def _nap(child: Process) -> float:
    """How long a sleep sleeps, in seconds."""
    total = 0.0
    for word in child.arguments[1:]:
        found = _NAP.fullmatch(word)
        total += float(found[1]) * _UNITS[found[2]] if found else math.inf
    return total


def _in_background(child: Process) -> bool:
    """A shell without job control starts a background child with SIGINT and SIGQUIT ignored."""
    return has(child.ignored, SIGINT) and has(child.ignored, SIGQUIT)


def _cares(child: Process, which: int) -> bool:
    """Whether it would do something at the signal, or may pass it on; the others lose nothing by being killed."""
    return has(child.caught | child.blocked, which) or child.children > 0
