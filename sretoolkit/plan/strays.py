"""Processes that a run's kernel started and that outlived it: found by the mark that they inherited, and ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

MARK = "SRETOOLKIT_IN_RUN"
"""The environment variable that a run's kernel, and so whatever it starts, carries."""


def end_strays(run: str) -> None:
    """Kill what still carries the run's mark. The kernel's guard does this better, unless it was killed itself."""
    mark = f"{MARK}={run}".encode()
    spared = _ancestors()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            if int(folder.name) not in spared and mark in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def _ancestors() -> set[int]:
    """This process and those above it: whoever recovers a run from within it does not kill himself."""
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            break
    return found
