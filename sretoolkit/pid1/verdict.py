"""From facts to findings: stop signals, zombies, process ids. What cannot be known from here is called unknown."""

from __future__ import annotations

from collections.abc import Iterator

from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.process import Init, Level, Machine, Zombies
from sretoolkit.pid1.signals import number
from sretoolkit.report import Finding, Severity

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


def judge(machine: Machine, host_name: str, asked: str, *, assumed: bool) -> Iterator[Finding]:
    """All that is to be said, namespace by namespace; ``assumed``: nobody said that ``asked`` is the stop signal."""
    yield from _about_us(machine, host_name)
    yield from _host_ceiling(machine, host_name)
    for init in machine.inits:
        yield from _stop(init, asked, assumed=assumed)
        yield from _zombies(init)
        yield from _ceiling(init)
        yield from _latent(init)
        yield from _unlimited(init)
    yield from (_outside(group) for group in machine.zombies if group.stayed)


def _about_us(machine: Machine, host_name: str) -> Iterator[Finding]:
    blind = [init for init in machine.inits if init.waits is None and not init.root]
    if blind:
        why = "look as root" if machine.uid else "look with the right to trace it (CAP_SYS_PTRACE), on x86-64 or arm64"
        summary = "what it waits for may not be seen from here, so some answers are unknown"
        for init in blind:
            yield Finding(severity="info", subject=init.label, summary=summary, proof="certain", remedy=why)
    if not machine.root_view:
        summary = "this is itself inside a PID namespace: only the processes in it are seen"
        yield Finding(
            severity="info", subject=host_name, summary=summary, proof="certain", remedy="look from the host itself"
        )
    if not machine.inits:
        summary = "no first process can be seen, not even this machine's own: /proc hides other users' processes"
        yield Finding(severity="medium", subject=host_name, summary=summary, proof="certain", remedy="look as root")


def _stop(init: Init, asked: str, *, assumed: bool) -> Iterator[Finding]:
    if init.root:
        return
    verdict = kind_of(init)[1].stop(init, number(asked), assumed=assumed)
    if verdict.severity is None:
        return
    process = init.process
    masks = f"SigCgt {process.caught:x}, SigIgn {process.ignored:x}, SigBlk {process.blocked:x}"
    yield Finding(
        severity=verdict.severity,
        subject=init.label,
        summary=_SUMMARY.get(verdict.word, "{signal} may not stop it").format(signal=asked),
        evidence=f"{verdict.why} ({masks})",
        proof=verdict.proof,
        remedy=verdict.remedy,
    )


def _zombies(init: Init) -> Iterator[Finding]:
    for group in init.zombies:
        if not group.stayed:
            continue
        severity: Severity = "high" if group.stayed >= _MANY else "medium"
        evidence = f"{group.stayed} of {group.seen} were still there at the second look"
        if group.parent == init.process:
            summary = f"{group.stayed} zombies: the first process does not reap its children"
            remedy = (
                "restart or mend the host's init" if init.root else "put an init before it (docker run --init, tini)"
            )
        else:
            name = f"{group.parent.name} (pid {group.parent.pid})" if group.parent else "a hidden process"
            summary = f"{group.stayed} zombies of {name}, which does not wait for its children"
            remedy = f"an init will not help: mend {name} (wait for children, SIGCHLD); restarting it clears them"
        yield Finding(severity=severity, subject=init.label, summary=summary, evidence=evidence, remedy=remedy)


def _outside(group: Zombies) -> Finding:
    name = f"{group.parent.name} (pid {group.parent.pid})" if group.parent else "a process that cannot be seen"
    runtime = group.parent is not None and group.parent.name.startswith(_RUNTIMES)
    remedy = "upgrade or restart the container runtime" if runtime else f"an init will not help: mend or restart {name}"
    summary = f"{group.stayed} zombies of it, in a namespace that was entered from outside"
    severity: Severity = "high" if group.stayed >= _MANY else "medium"
    evidence = f"{group.stayed} of {group.seen} were still there at the second look"
    return Finding(severity=severity, subject=name, summary=summary, evidence=evidence, remedy=remedy)


def lowest(init: Init) -> Level | None:
    """The cgroup with the least room left; None when none has a ceiling."""
    limited = [level for level in init.levels if level.limit is not None]
    return min(limited, key=lambda level: (level.limit or 0) - level.current, default=None)


def _ceiling(init: Init) -> Iterator[Finding]:
    remedy = "find what starts them (zombies count too); then raise the limit"
    for level in init.levels:
        if level.failures:
            full = level.limit is not None and level.current >= level.limit * 0.9
            summary = f"{level.failures} forks have failed at this cgroup's limit since it was made"
            severity: Severity = "critical" if full else "high"
            yield Finding(severity=severity, subject=init.label, summary=summary, evidence=_use(level), remedy=remedy)
    least = lowest(init)
    if least is None or least.limit is None or least.current < least.limit * 0.75:
        return
    severity = "high" if least.current >= least.limit * 0.9 else "medium"
    summary = f"{max(0, least.limit - least.current)} process ids are left"
    yield Finding(severity=severity, subject=init.label, summary=summary, evidence=_use(least), remedy=remedy)


def _host_ceiling(machine: Machine, host_name: str) -> Iterator[Finding]:
    ceilings = [value for value in (machine.pid_max, machine.threads_max) if value]
    if not machine.root_view or not ceilings or machine.tasks is None or machine.tasks < min(ceilings) * 0.75:
        return
    severity: Severity = "critical" if machine.tasks >= min(ceilings) * 0.9 else "high"
    evidence = f"{machine.tasks} threads, kernel.pid_max {machine.pid_max}, kernel.threads-max {machine.threads_max}"
    summary = "the whole host runs out of process ids"
    remedy = "find who starts them; then raise the lower of the two"
    yield Finding(
        severity=severity, subject=host_name, summary=summary, evidence=evidence, proof="observed", remedy=remedy
    )


def _latent(init: Init) -> Iterator[Finding]:
    answer, why = reaps(init, kind_of(init)[1])
    if answer == "no" and not init.root and not any(group.parent == init.process for group in init.zombies):
        summary = "orphans would stay as zombies, e.g. those of exec probes; there are none now"
        remedy = "put an init before it if anything is executed in there"
        yield Finding(
            severity="low", subject=init.label, summary=summary, evidence=why, proof="inferred", remedy=remedy
        )


def _unlimited(init: Init) -> Iterator[Finding]:
    if not init.root and init.levels and lowest(init) is None:
        summary = "no cgroup above it limits its process ids: one leak can take the node"
        remedy = "set a limit (--pids-limit, podPidsLimit)"
        yield Finding(severity="medium", subject=init.label, summary=summary, proof="certain", remedy=remedy)


def _use(level: Level) -> str:
    return f"pids.current {level.current}, pids.max {level.limit or 'max'} in {level.path}"
