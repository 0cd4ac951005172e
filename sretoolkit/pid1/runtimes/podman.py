"""Podman, by the ``podman`` program of the host; each user has containers of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from sretoolkit.pid1.runtimes._inspect import Inspected as _Inspected
from sretoolkit.pid1.workload import Fix


class Podman(_Inspected):
    """The containers of the user that we are on the host."""

    program = "podman"
    denied = "ask as the user whose containers they are; does `podman ps` work there?"
    words: ClassVar[Mapping[Fix, str]] = {
        "init": "podman run --init (Quadlet: PodmanArgs=--init)",
        "stop-signal": "podman run --stop-signal {what} (Containerfile: STOPSIGNAL {what})",
        "limit": "podman update --pids-limit 512 {name}",
        "raise": "find what starts them (zombies count too); then podman update --pids-limit N {name}",
        "restart": "podman restart {name} before it runs out, then find what starts them",
    }
