"""What a signal will do to a process, by the kernel's own rules.

The kernel drops a signal to a PID namespace's init when the action is the default one (kernel/signal.c,
``sig_task_ignored``: SIGNAL_UNKILLABLE), wherever it was sent from, unless it is SIGKILL or SIGSTOP from an outer
namespace. A thread inside sigwait shows its set neither as blocked nor as caught.
"""

from __future__ import annotations

import re
import signal
from typing import Literal

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.process import Init, Process

Disposition = Literal["sigwait", "signalfd", "caught", "ignored", "blocked", "dropped", "unknown"]

RTMIN = 34
_REALTIME = re.compile(r"RTMIN(?:\+(\d{1,2}))?")


def number(name: str) -> int:
    """The number of "SIGTERM", "term", "SIGRTMIN+3" or "15"; raises `ConfigError` for what is no signal."""
    short = name.strip().upper().removeprefix("SIG")
    if real := _REALTIME.fullmatch(short):
        found = RTMIN + int(real[1] or 0)
    elif short.isdigit():
        found = int(short)
    else:
        found = int(getattr(signal.Signals, "SIG" + short, 0))
    if not 1 <= found <= 64:
        raise ConfigError(f"{name!r} is no signal", hint='write it as "SIGTERM" or "SIGRTMIN+3"')
    return found


def name(given: str) -> str:
    """The full name of a signal, however it is given; raises as `number` does."""
    which = number(given)
    return f"SIGRTMIN+{which - RTMIN}" if which >= RTMIN else signal.Signals(which).name


def has(mask: int, which: int) -> bool:
    """Whether a mask holds the signal of that number."""
    return bool(mask >> (which - 1) & 1)


def disposition(init: Init, which: int) -> Disposition:
    """What becomes of a signal that is sent to a namespace's init now; "unknown" where we may not look."""
    process, waits = init.process, init.waits
    if waits is None:
        return _seen_from_outside(process, which)
    if has(waits.sigwait, which):
        return "sigwait"
    if has(waits.signalfd, which) and has(process.blocked, which):
        return "signalfd"
    if has(waits.all_block, which):
        return "blocked"
    if has(process.caught, which):
        return "caught"
    if has(process.ignored, which):
        return "ignored"
    return "blocked" if has(process.blocked, which) else "dropped"


def _seen_from_outside(process: Process, which: int) -> Disposition:
    """By the masks alone: a handler can be seen, what sigwait or signalfd takes cannot."""
    return "caught" if has(process.caught, which) and not has(process.blocked, which) else "unknown"
