"""From facts to findings: stop signals, zombies, process ids. What cannot be known from here is called unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sretoolkit.pid1.ceilings import of_host, shortages
from sretoolkit.pid1.init import GRACE, INITS, Stop, kind_of, own_options, reaps
from sretoolkit.pid1.process import Init, Machine, Zombies
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.workload import Fix, Workload, remedy
from sretoolkit.report import Finding, Proof, Severity

_MANY = 10  # zombies
_OPEN = ("", "0", "off")  # hidepid
_RUNTIMES = ("containerd-shim", "conmon", "runc", "crun", "kubelet", "dockerd")
_SUMMARY = {
    "dropped": "{signal} will be dropped; it is killed after the grace period",
    "ignored": "{signal} will be ignored; it is killed after the grace period",
    "blocked": "{signal} is blocked; it is killed after the grace period unless that changes",
    "deferred": "{signal} will be handled too late; it is killed after the grace period",
    "not passed on": "the program is not told of {signal}",
    "cut off": "the program is told of {signal}, and killed while it shuts down: the first process does not wait for it",
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

    @property
    def stop(self) -> Stop:
        """What its stop signal will do, within its own grace period."""
        grace = self.workload.grace if self.workload else GRACE
        return kind_of(self.init)[1].stop(self.init, number(self.asked), assumed=self.assumed, grace=grace)


@dataclass(frozen=True)
class Ruling:
    """A finding, the container it is about (if one), and the cure's name."""

    finding: Finding
    host: str
    subject: Subject | None = None
    fix: Fix | None = None


def subjects(
    inits: Iterable[Init], host_name: str, workloads: Mapping[int, Workload], stop_signal: str | None
) -> list[Subject]:
    """Each first process with its container, by pid; ``stop_signal`` is believed before the container's."""
    found = []
    for init in inits:
        workload = workloads.get(init.process.pid)
        asked = stop_signal or (workload.stop_signal if workload else "SIGTERM")
        found.append(Subject(host_name, init, workload, asked, assumed=not (stop_signal or workload)))
    return found


def judge(machine: Machine, host_name: str, looked: list[Subject]) -> Iterator[Ruling]:
    """All that is to be said, namespace by namespace; ``looked`` are the machine's `subjects`."""
    for finding in (*_about_us(machine, host_name), *_host_ceiling(machine, host_name)):
        yield Ruling(finding, host_name)
    for subject in looked:
        for rule in (_stop, _held, _zombies, _latent, _useless):
            yield from rule(subject)
        for each in shortages(subject.init, machine) if subject.init.first else ():
            yield _ruling(
                subject,
                each.rule,
                each.severity,
                each.summary,
                fix=each.fix,
                evidence=each.evidence,
                proof=each.proof,
            )
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
    if machine.hidepid not in _OPEN and machine.uid:
        summary = f"/proc is mounted with hidepid={machine.hidepid}: only this user's own processes are seen"
        yield Finding(severity="medium", subject=host_name, summary=summary, remedy="look as root", **said)
    elif not machine.inits:
        summary = "no first process can be seen, not even this machine's own: /proc hides other users' processes"
        yield Finding(severity="medium", subject=host_name, summary=summary, remedy="look as root", **said)
    if not machine.controller and any(not init.root for init in machine.inits):
        summary = (
            "process ids cannot be counted: no pids controller of cgroups is mounted here, or none that we may see"
        )
        why = "mount cgroups (v2, or v1 with pids) where we look"
        yield Finding(severity="low", subject=host_name, summary=summary, remedy=why, **said)


def _held(subject: Subject) -> Iterator[Ruling]:
    """It takes no signal now, whatever it does with one."""
    init = subject.init
    if init.frozen:
        summary, cure = "its cgroup is frozen: it takes no signal until it is thawed", "thaw it (docker unpause)"
        about: dict[str, Any] = {"severity": "medium", "rule": "frozen", "evidence": f"cgroup {init.cgroup or '?'}"}
    elif init.process.stuck:
        summary, cure = (
            "it waits in the kernel (state D): it takes no signal, not even SIGKILL, until that ends",
            ("look again; if it stays, see which disk or file server does not answer (/proc/PID/stack, dmesg)"),
        )
        about = {"severity": "low", "rule": "stuck", "evidence": "at the moment of the look"}
    else:
        return
    yield Ruling(Finding(subject=subject.name, summary=summary, remedy=cure, **about), subject.host, subject)


def _stop(subject: Subject) -> Iterator[Ruling]:
    init = subject.init
    if init.root:
        return
    verdict = subject.stop
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


def _host_ceiling(machine: Machine, host_name: str) -> Iterator[Finding]:
    least = min(of_host(machine), key=lambda each: each.left, default=None)
    if least is None or least.current < least.limit * 0.75:
        return
    yield Finding(
        severity="critical" if least.current >= least.limit * 0.9 else "high",
        subject=host_name,
        summary="the whole host runs out of process ids",
        evidence=f"{least.current} threads, " + ", ".join(f"{each.name} {each.limit}" for each in of_host(machine)),
        remedy=f"find who starts them; then raise {least.name}",
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


def _useless(subject: Subject) -> Iterator[Ruling]:
    """An init that is not PID 1 adopts nobody, unless it asks to."""
    init = subject.init
    if not init.first and init.program in INITS["tini"].names and not any("s" in word for word in own_options(init)):
        summary = f"{init.program} is not PID 1 here: orphans go past it"
        yield _ruling(subject, "init-useless", "low", summary, proof="certain", fix="subreaper")
