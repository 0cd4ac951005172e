"""From facts to findings: stop signals, zombies, process ids. What cannot be known from here is called unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.process import Init, Level, Machine, Zombies
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.workload import Fix, Workload, remedy
from sretoolkit.report import Finding, Proof, Severity

_MANY = 10  # zombies
_RUNTIMES = ("containerd-shim", "conmon", "runc", "crun", "kubelet", "dockerd")
_SUMMARY = {
    "dropped": "{signal} will be dropped; it is killed after the grace period",
    "ignored": "{signal} will be ignored; it is killed after the grace period",
    "blocked": "{signal} is blocked; it is killed after the grace period unless that changes",
    "deferred": "{signal} will be handled too late; it is killed after the grace period",
    "not passed on": "the program is not told of {signal}",
    "killed": "{signal} does not stop it; it is killed after the grace period",
}


@dataclass(frozen=True)
class Subject:
    """One first process with all that is known about how it is to be stopped; ``assumed``: nobody said by which signal."""

    host: str
    init: Init
    workload: Workload | None = None
    asked: str = "SIGTERM"
    assumed: bool = True

    @property
    def name(self) -> str:
        """How it is called in findings."""
        return self.workload.name if self.workload else self.init.label


@dataclass(frozen=True)
class Ruling:
    """A finding, the container it is about (if one), and the cure's name."""

    finding: Finding
    host: str
    subject: Subject | None = None
    fix: Fix | None = None


def subjects(
    machine: Machine, host_name: str, workloads: Mapping[int, Workload], stop_signal: str | None
) -> list[Subject]:
    """Each first process of a machine with its container, by pid; ``stop_signal`` is believed before the container's."""
    found = []
    for init in machine.inits:
        workload = workloads.get(init.process.pid)
        asked = stop_signal or (workload.stop_signal if workload else "SIGTERM")
        found.append(Subject(host_name, init, workload, asked, assumed=not (stop_signal or workload)))
    return found


def judge(machine: Machine, host_name: str, looked: list[Subject]) -> Iterator[Ruling]:
    """All that is to be said, namespace by namespace; ``looked`` are the machine's `subjects`."""
    for finding in (*_about_us(machine, host_name), *_host_ceiling(machine, host_name)):
        yield Ruling(finding, host_name)
    for subject in looked:
        for rule in (_stop, _zombies, _ceiling, _latent, _unlimited):
            yield from rule(subject)
    for group in machine.zombies:
        if group.stayed:
            yield _outside(group, host_name)


def _ruling(
    subject: Subject,
    rule: str,
    severity: Severity,
    summary: str,
    *,
    fix: Fix,
    evidence: str = "",
    proof: Proof = "observed",
    **about: str,
) -> Ruling:
    cure = remedy(fix, subject.workload, signal=subject.asked, **about)
    finding = Finding(
        severity=severity, subject=subject.name, summary=summary, evidence=evidence, proof=proof, remedy=cure, rule=rule
    )
    return Ruling(finding, subject.host, subject, fix)


def _about_us(machine: Machine, host_name: str) -> Iterator[Finding]:
    said: dict[str, Any] = {"proof": "certain", "rule": "blind"}
    for init in machine.inits:
        if init.waits is None and not init.root:
            why = (
                "look as root"
                if machine.uid
                else "look with the right to trace it (CAP_SYS_PTRACE), on x86-64 or arm64"
            )
            summary = "what it waits for may not be seen from here, so some answers are unknown"
            yield Finding(severity="info", subject=init.label, summary=summary, remedy=why, **said)
    if not machine.root_view:
        summary = "this is itself inside a PID namespace: only the processes in it are seen"
        yield Finding(severity="info", subject=host_name, summary=summary, remedy="look from the host itself", **said)
    if not machine.inits:
        summary = "no first process can be seen, not even this machine's own: /proc hides other users' processes"
        yield Finding(severity="medium", subject=host_name, summary=summary, remedy="look as root", **said)


def _stop(subject: Subject) -> Iterator[Ruling]:
    init = subject.init
    if init.root:
        return
    verdict = kind_of(init)[1].stop(init, number(subject.asked), assumed=subject.assumed)
    if verdict.severity is None:
        return
    process = init.process
    masks = f"SigCgt {process.caught:x}, SigIgn {process.ignored:x}, SigBlk {process.blocked:x}"
    yield _ruling(
        subject,
        "stop-" + verdict.word.replace(" ", "-"),
        verdict.severity,
        _SUMMARY.get(verdict.word, "{signal} may not stop it").format(signal=subject.asked),
        evidence=f"{verdict.why} ({masks})",
        proof=verdict.proof,
        fix=verdict.fix or "handle",
        what=verdict.what or init.program,
    )


def _zombies(subject: Subject) -> Iterator[Ruling]:
    init = subject.init
    for group in init.zombies:
        if not group.stayed:
            continue
        severity: Severity = "high" if group.stayed >= _MANY else "medium"
        evidence = f"{group.stayed} of {group.seen} were still there at the second look"
        if group.parent == init.process:
            summary = f"{group.stayed} zombies: the first process does not reap its children"
            fix: Fix = "host-init" if init.root else "init"
            yield _ruling(subject, "zombies-of-init", severity, summary, evidence=evidence, fix=fix)
        else:
            name = f"{group.parent.name} (pid {group.parent.pid})" if group.parent else "a hidden process"
            summary = f"{group.stayed} zombies of {name}, which does not wait for its children"
            yield _ruling(subject, "zombies-of-app", severity, summary, evidence=evidence, fix="wait", what=name)


def _outside(group: Zombies, host_name: str) -> Ruling:
    name = f"{group.parent.name} (pid {group.parent.pid})" if group.parent else "a process that cannot be seen"
    runtime = group.parent is not None and group.parent.name.startswith(_RUNTIMES)
    fix: Fix = "runtime" if runtime else "wait"
    finding = Finding(
        severity="high" if group.stayed >= _MANY else "medium",
        subject=name,
        summary=f"{group.stayed} zombies of it, in a namespace that was entered from outside",
        evidence=f"{group.stayed} of {group.seen} were still there at the second look",
        remedy=remedy(fix, what=name),
        rule="zombies-of-runtime" if runtime else "zombies-of-app",
    )
    return Ruling(finding, host_name, fix=fix)


def lowest(init: Init) -> Level | None:
    """The cgroup with the least room left; None when none has a ceiling."""
    limited = [level for level in init.levels if level.limit is not None]
    return min(limited, key=lambda level: (level.limit or 0) - level.current, default=None)


def _ceiling(subject: Subject) -> Iterator[Ruling]:
    init = subject.init
    for level in init.levels:
        if level.failures:
            full = level.limit is not None and level.current >= level.limit * 0.9
            summary = f"{level.failures} forks have failed at this cgroup's limit since it was made"
            severity: Severity = "critical" if full else "high"
            yield _ruling(subject, "forks-failed", severity, summary, evidence=_use(level), fix="raise")
    least = lowest(init)
    if least is None or least.limit is None or least.current < least.limit * 0.75:
        return
    severity = "high" if least.current >= least.limit * 0.9 else "medium"
    summary = f"{max(0, least.limit - least.current)} process ids are left"
    yield _ruling(subject, "ids-low", severity, summary, evidence=_use(least), fix="raise")


def _host_ceiling(machine: Machine, host_name: str) -> Iterator[Finding]:
    ceilings = [value for value in (machine.pid_max, machine.threads_max) if value]
    if not machine.root_view or not ceilings or machine.tasks is None or machine.tasks < min(ceilings) * 0.75:
        return
    yield Finding(
        severity="critical" if machine.tasks >= min(ceilings) * 0.9 else "high",
        subject=host_name,
        summary="the whole host runs out of process ids",
        evidence=f"{machine.tasks} threads, kernel.pid_max {machine.pid_max}, kernel.threads-max {machine.threads_max}",
        remedy="find who starts them; then raise the lower of the two",
        rule="host-ids-low",
    )


def _latent(subject: Subject) -> Iterator[Ruling]:
    init = subject.init
    answer, why = reaps(init, kind_of(init)[1])
    if answer == "no" and not init.root and not any(group.parent == init.process for group in init.zombies):
        probed = subject.workload is not None and subject.workload.executes
        summary = (
            "orphans of its health checks would stay as zombies; there are none now"
            if probed
            else "orphans would stay as zombies, e.g. those of exec probes; there are none now"
        )
        yield _ruling(
            subject,
            "reaping-latent",
            "medium" if probed else "low",
            summary,
            evidence=why,
            proof="inferred",
            fix="init",
        )


def _unlimited(subject: Subject) -> Iterator[Ruling]:
    init = subject.init
    if not init.root and init.levels and lowest(init) is None:
        summary = "no cgroup above it limits its process ids: one leak can take the node"
        yield _ruling(subject, "ids-unlimited", "medium", summary, proof="certain", fix="limit")


def _use(level: Level) -> str:
    return f"pids.current {level.current}, pids.max {level.limit or 'max'} in {level.path}"
