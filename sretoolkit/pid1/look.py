"""One look at a host: the facts, the containers that its runtimes know, and all that is to be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from sretoolkit.errors import HostError
from sretoolkit.hosts import Host
from sretoolkit.pid1.here import Ask
from sretoolkit.pid1.process import Init, Machine, scan
from sretoolkit.pid1.sharing import beside
from sretoolkit.pid1.verdict import Ruling, Subject, judge, subjects
from sretoolkit.pid1.workload import RUNTIMES, Workload
from sretoolkit.report import Finding


@dataclass(frozen=True)
class How:
    """How to look.

    ``stop_signal`` is believed before what is configured (None = that); ``watch``: count process ids for so long, and
    foretell; ``execute``: also inside pods, by exec.
    """

    stop_signal: str | None = None
    watch: timedelta = timedelta(0)
    execute: bool = False


AS_IT_IS = How()


@dataclass(frozen=True)
class Look:
    """What was found. ``troubles``: a finding for each runtime that did not answer us."""

    host: str
    machine: Machine
    subjects: tuple[Subject, ...]
    rulings: tuple[Ruling, ...]
    troubles: tuple[Finding, ...] = ()

    @classmethod
    def of(
        cls,
        machine: Machine,
        host_name: str,
        containers: Sequence[Workload] = (),
        *,
        troubles: Sequence[Finding] = (),
        stop_signal: str | None = None,
        beside: Sequence[Init] = (),
    ) -> Self:
        """From facts that were read before; ``stop_signal`` is believed before what the runtimes say.

        ``beside``: first processes of containers that share a namespace.
        """
        known = {each.pid: each for each in containers if each.pid}
        looked = subjects((*machine.inits, *beside), host_name, known, stop_signal)
        return cls(host_name, machine, tuple(looked), tuple(judge(machine, host_name, looked)), tuple(troubles))

    def named(self, container: str) -> Subject:
        """The container of that name or id; raises `HostError` when it is not seen."""
        for subject in self.subjects:
            workload = subject.workload
            if workload and (workload.name == container or (workload.id and workload.id.startswith(container))):
                return subject
        said = "; ".join(trouble.summary for trouble in self.troubles)
        hint = said or "does it run? `sretoolkit pid1` shows those that are seen"
        raise HostError(f"{self.host}: there is no container {container!r} to be seen", host=self.host, hint=hint)

    def about(self, container: str) -> list[Ruling]:
        """What is said of one container; raises as `named` does."""
        subject = self.named(container)
        return [ruling for ruling in self.rulings if ruling.subject == subject]


def look(host: Host, *, stop_signal: str | None = None, ask: Ask = "short") -> Look:
    """Look at a host now, reading only; raises what `scan` raises, and asks as `scan` does."""
    machine = scan(host, ask=ask)
    containers, troubles = workloads(host)
    found = beside(host, containers, {init.process.pid for init in machine.inits})
    return Look.of(machine, host.name, containers, troubles=troubles, stop_signal=stop_signal, beside=found)


def workloads(host: Host) -> tuple[list[Workload], list[Finding]]:
    """The containers of every runtime on a host, and a finding for each runtime that does not answer us."""
    found: list[Workload] = []
    troubles = []
    for name in RUNTIMES:
        try:
            found += RUNTIMES[name]().workloads(host)
        except HostError as error:
            summary = f"{name} does not answer: {error.message}"
            finding = Finding(severity="low", subject=host.name, summary=summary, remedy=error.hint, rule="blind")
            troubles.append(finding)
    return found, troubles
