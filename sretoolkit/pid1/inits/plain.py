"""Any program as first process: only the kernel's rules are known."""

from __future__ import annotations

import re

from sretoolkit.pid1.init import GRACE, Kind, Stop, young
from sretoolkit.pid1.process import Init
from sretoolkit.pid1.signals import disposition
from sretoolkit.pid1.signals import name as signal_name

_ALWAYS_CATCHES = {"node"}
_LISTENS = re.compile(r"\bprocess\s*\.\s*(?:on|once|addListener)\s*\(\s*['\"`](SIG[A-Z0-9]+)['\"`]")
_UNSEEN = {
    "caught": "it has a handler for it; what the handler does cannot be seen",
    "sigwait": "it waits for the signal; what it does then cannot be seen",
    "signalfd": "it reads the signal from a signalfd; what it does then cannot be seen",
}


class Plain(Kind):
    """No init that we know."""

    def stop(self, init: Init, which: int, *, assumed: bool, grace: float = GRACE) -> Stop:
        """By the signal's disposition alone."""
        found = disposition(init, which)
        if found == "unknown":
            return Stop("unknown", "only root may see whether it waits for the signal")
        if found == "dropped":
            why = "it has no handler, and the kernel drops a signal with default action to the first process"
            if young(init):
                why += "; it is only just started and may still set one up"
            return Stop("dropped", why, "inferred" if young(init) else "certain", "high", "init")
        if found == "ignored":
            return Stop("ignored", "it ignores the signal", "certain", "high", "handle", init.program)
        if found == "blocked":
            why = "it blocks the signal, and no thread was waiting for it when we looked"
            return Stop("blocked", why, "inferred", "high", "handle", init.program)
        if init.program in _ALWAYS_CATCHES:
            name = signal_name(str(which))
            if name in _LISTENS.findall("\n".join((*init.arguments[1:], init.process.script))):
                return Stop("handled", f"its script listens for {name}; what the listener does cannot be seen")
            why = f"{init.program} always catches it, but drops it without a listener: the masks are the same"
            return Stop("uncertain", why, "inferred", "medium", "init")
        return Stop("handled", _UNSEEN[found])
