"""What is known of programs as first process, measured on real ones; of any other nothing is known."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

Answer = Literal["handles", "drops", "catches", "own", "wrapper", "unknown"]

_DROPS = {"sleep", "tail", "cat", "yes", "read", "top", "watch"}
_HANDLES = {"nginx", "haproxy", "dnsmasq", "sshd", "socat", "java", "pause"}
_OWN = {"python", "perl", "php", "ruby"}
_WRAPPERS = {"npm", "npx", "yarn", "pnpm", "make", "sudo", "su"}
_REAPS = {"nginx", "haproxy", "dnsmasq", "sshd", "socat", "pause"}
_LEAVES = {"java", "node", "python", "perl", "php", "sleep", "tail", "etcd", "prometheus", "node_exporter"}
_VERSION = re.compile(r"[\d.]+$")

WHY = {
    "drops": "{program} has no handler for it, and the kernel drops a signal with default action to the first process",
    "catches": "{program} always catches it, but drops it when the program has set no listener",
    "own": "{program} has no handler of its own: unless the program sets one, the kernel drops the signal",
    "wrapper": "{program} starts the program as a child of its own; whether that is told cannot be read here",
    "unknown": "whether {program} handles it cannot be read here; without a handler the kernel drops it",
}


def known_as(program: str) -> str:
    """The name without a version: python3.11 is python, nodejs is node."""
    name = _VERSION.sub("", PurePosixPath(program).name)
    return "node" if name == "nodejs" else name


def stops(program: str) -> Answer:
    """What it does with SIGTERM as first process."""
    name = known_as(program)
    if name in _DROPS:
        return "drops"
    if name in _HANDLES:
        return "handles"
    if name == "node":
        return "catches"
    return "own" if name in _OWN else "wrapper" if name in _WRAPPERS else "unknown"


def reaps(program: str) -> bool | None:
    """Whether it takes care of orphans as first process; None = not known."""
    name = known_as(program)
    return True if name in _REAPS else False if name in _LEAVES else None


def is_systemd(words: tuple[str, ...]) -> bool:
    """Whether it is systemd, by its own name or as /sbin/init."""
    return bool(words) and (PurePosixPath(words[0]).name == "systemd" or words[0] in ("/sbin/init", "/usr/sbin/init"))
