"""What a container's runtime knows of it, and what the cure of a finding is called there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from sretoolkit.hosts import Host
from sretoolkit.plugins import Plugins

Fix = Literal[
    "init", "exec", "exec-behind", "background", "handle", "stop-signal", "wait", "subreaper", "limit", "raise", "restart",
    "runtime", "host-init",
]  # fmt: skip
FIXES: tuple[Fix, ...] = get_args(Fix)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One container as its runtime describes it.

    ``name`` is what people call it (``web``, ``shop/web-7d9/app``); ``pid`` is its first process as its host sees it, None
    where only the API is known; ``grace`` is in seconds; ``shared``: its processes are in the namespace of somebody else
    (pod, host, another container), so that its own first process is not PID 1; ``executes``: something is executed in it
    again and again (a health check, an exec probe); ``pids_limit`` None = none of its own.
    """

    runtime: str
    name: str
    id: str = ""
    host: str = ""
    image: str = ""
    owner: str = ""
    pid: int | None = None
    command: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    grace: float = 10.0
    init: bool = False
    shared: bool = False
    executes: bool = False
    pids_limit: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class Runtime(ABC):
    """One thing that runs containers. ``words``: what to do, in its own words; what is missing there is said in general."""

    words: ClassVar[Mapping[Fix, str]] = {}

    @abstractmethod
    def workloads(self, host: Host) -> Sequence[Workload]:
        """The containers that run on a host now, [] where it has none of this kind.

        One round trip, read-only. Raises `HostError` when the runtime is there but does not answer us.
        """


RUNTIMES: Plugins[Runtime] = Plugins("sretoolkit.pid1.runtimes", Runtime)  # type: ignore[type-abstract]

_GENERAL: Mapping[Fix, str] = {
    "init": "put an init before it (docker run --init, tini as entrypoint, shareProcessNamespace: true)",
    "exec": "start the program with exec",
    "exec-behind": "start the program with exec: an init that tells the whole group (tini -g, dumb-init) does not wait for it",
    "background": "run it in the background and wait: {what} & wait",
    "handle": "let {what} handle {signal}, or configure a stop signal that it handles",
    "stop-signal": "configure the stop signal {what}",
    "wait": "an init will not help: mend {what} (wait for children, SIGCHLD); restarting it clears them",
    "subreaper": "give it -s (tini -s), or leave the init out: it is not PID 1 here",
    "limit": "set a limit (--pids-limit, podPidsLimit)",
    "raise": "find what starts them (zombies count too); then raise the limit",
    "restart": "restart it before it runs out, then find what starts them",
    "runtime": "upgrade or restart the container runtime",
    "host-init": "restart or mend the host's init",
}


def remedy(fix: Fix, workload: Workload | None = None, **about: str) -> str:
    """The cure in the words of this workload's runtime; ``about`` fills in {what} and {signal}."""
    own = RUNTIMES[workload.runtime].words if workload and workload.runtime in RUNTIMES else {}
    told = own.get(fix, _GENERAL[fix])
    return told.format_map(
        {"what": "the program", "signal": "the signal", "name": workload.name if workload else "", **about}
    )
