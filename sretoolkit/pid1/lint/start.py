"""How a container will be started, as far as a file says it, and on which line it says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sretoolkit.pid1.workload import Fix

Shell = Literal["dash", "bash", "busybox", "unknown"]


def nothing(path: str) -> str | None:
    """No file of the image can be read."""
    return None


@dataclass(frozen=True, kw_only=True)
class Start:
    """One container as it is written down.

    ``command`` is all that is executed, None where only the image knows; ``stop_signal`` None = not written here, and
    ``signal_sure`` says whether that means SIGTERM; ``sh`` is what /bin/sh is in the image; ``read`` gives the text of a
    file of the image by its path there, None when it cannot; ``lines`` has the line of "command", "stop_signal", "grace",
    "health", "pids" and "init" where they are written; ``pids`` is True = limited, False = not, None = said elsewhere.
    ``refused``: why the stop signal would not be taken as it is written, "" = it would; ``words``: the cures in the words of
    this file; ``caveat``: what would make all of it wrong, "" = nothing.
    """

    subject: str
    path: str
    line: int
    image: str = ""
    owner: str = ""
    command: tuple[str, ...] | None = None
    unknown_because: str = "the image says what is started"
    caveat: str = ""
    sh: Shell = "unknown"
    stop_signal: str | None = None
    signal_sure: bool = True
    refused: str = ""
    grace: float | None = None
    before_stop: float = 0.0
    init: bool = False
    shared: bool = False
    executes: str = ""
    pids: bool | None = None
    lines: Mapping[str, int] = field(default_factory=dict)
    words: Mapping[Fix, str] = field(default_factory=dict)
    read: Callable[[str], str | None] = nothing

    def at(self, what: str) -> int:
        """The line that says it, else the first line about this container."""
        return self.lines.get(what) or self.line
