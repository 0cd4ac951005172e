"""How many process ids are left: every ceiling that holds for a namespace, from its own cgroup up to the host.

The one with the least room counts. A fork fails with EAGAIN at each of them (pids.max of any cgroup above, RLIMIT_NPROC of
the real user wherever its processes are, the namespace's pid_max, the host's kernel.pid_max and kernel.threads-max).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sretoolkit.pid1.process import Init, Level, Machine
from sretoolkit.pid1.workload import Fix
from sretoolkit.report import Proof, Severity

_SCARCE, _VERY_SCARCE = 0.75, 0.9


@dataclass(frozen=True)
class Ceiling:
    """One limit: its ``name`` (pids.max), what counts against it now, ``where`` it is set; ``path``: the cgroup, if one."""

    name: str
    current: int
    limit: int
    where: str
    path: str = ""

    @property
    def left(self) -> int:
        """Process ids that can still be had under it."""
        return max(0, self.limit - self.current)

    def __str__(self) -> str:
        if self.path:
            return f"pids.current {self.current}, {self.name} {self.limit} in {self.path}"
        return f"{self.current} of {self.name} {self.limit} {self.where}"


@dataclass(frozen=True)
class Shortage:
    """What is to be said of a namespace's ceilings: the finding's rule, severity, words, and the cure's name."""

    rule: str
    severity: Severity
    summary: str
    evidence: str
    fix: Fix
    proof: Proof = "observed"


def of_host(machine: Machine) -> list[Ceiling]:
    """The host's own two; [] when they are not seen, or are not ours to judge from inside a namespace."""
    limits = (("kernel.pid_max", machine.pid_max), ("kernel.threads-max", machine.threads_max))
    if not machine.root_view or machine.tasks is None:
        return []
    return [Ceiling(name, machine.tasks, limit, "of the whole host") for name, limit in limits if limit]


def of_init(init: Init) -> list[Ceiling]:
    """Those that a namespace has besides the host's; [] = none, or none that we see.

    Its own pid_max is held against what its cgroup counts, which is the same as long as the cgroup is one container's.
    """
    found = [Ceiling("pids.max", level.current, level.limit, "", level.path) for level in init.levels if level.limit]
    found += [Ceiling("RLIMIT_NPROC", tasks, init.nproc, f"of user {uid}") for uid, tasks in init.users if init.nproc]
    if init.pid_max and init.levels and not init.root:
        found.append(Ceiling("pid_max", init.levels[0].current, init.pid_max, "of its namespace"))
    return found


def lowest(init: Init, machine: Machine | None = None) -> Ceiling | None:
    """The ceiling with the least room left, with the host's two if a machine is given; None when there is none."""
    return min(of_init(init) + (of_host(machine) if machine else []), key=lambda each: each.left, default=None)


def shortages(init: Init, machine: Machine) -> Iterator[Shortage]:
    """Forks that failed, few ids left, no limit at all."""
    yield from map(_failed, (level for level in init.levels if level.failures))
    bounds = [each.limit for each in of_host(machine)]
    real = [each for each in of_init(init) if each.limit < min(bounds, default=each.limit + 1)]
    least = min(real, key=lambda each: each.left, default=None)
    if least is not None and least.current >= least.limit * _SCARCE:
        severity: Severity = "high" if least.current >= least.limit * _VERY_SCARCE else "medium"
        yield Shortage("ids-low", severity, f"{least.left} process ids are left", str(least), "raise")
    if not real and init.levels and not init.root:
        summary = "no cgroup above it limits its process ids: one leak can take the node"
        evidence = "; ".join(f"{each.name} {each.limit} {each.where}" for each in of_host(machine))
        yield Shortage("ids-unlimited", "medium", summary, evidence, "limit", "certain")


def _failed(level: Level) -> Shortage:
    full = level.limit is not None and level.current >= level.limit * _VERY_SCARCE
    summary = f"{level.failures} forks have failed at this cgroup's limit since it was made"
    evidence = f"pids.current {level.current}, pids.max {level.limit or 'max'} in {level.path}"
    return Shortage("forks-failed", "critical" if full else "high", summary, evidence, "raise")
