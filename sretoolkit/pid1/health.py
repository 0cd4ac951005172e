"""The report of one look at a host: one line a namespace, and a finding for what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1.ceilings import lowest
from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.look import Look, look
from sretoolkit.pid1.process import Machine
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.verdict import Subject
from sretoolkit.pid1.workload import Workload
from sretoolkit.report import SEVERITIES, Finding, Report, Table

_NAMED = 4  # subjects that a grouped finding names
_WIDTH = 60  # characters of a command line


def health(host_name: str, config: Config | None = None, *, stop_signal: str | None = None) -> Report:
    """The first process of every PID namespace of a host: will it stop, who leaves zombies, how many ids are left.

    ``stop_signal`` is the one that all are stopped with; without it each is judged by the one that its runtime knows, or
    else by SIGTERM. Reads only; raises what `connect` and `Host.run` raise.
    """
    number(stop_signal or "SIGTERM")
    with connect(host_name, config) as host:
        return describe(look(host, stop_signal=stop_signal))


def report(
    machine: Machine,
    host_name: str,
    *,
    stop_signal: str | None = None,
    containers: Sequence[Workload] = (),
    troubles: Sequence[Finding] = (),
) -> Report:
    """The report on what a scan found, with what the runtimes say of its containers."""
    return describe(Look.of(machine, host_name, containers, troubles=troubles, stop_signal=stop_signal))


def describe(found: Look) -> Report:
    """The report on one look."""
    machine, looked = found.machine, found.subjects
    findings = [*found.troubles, *(ruling.finding for ruling in found.rulings)]
    rows = [_row(subject) for subject in looked]
    columns = (
        "pid",
        "container",
        "first process",
        "kind",
        "stop signal",
        "reaps orphans",
        "its zombies",
        "others' zombies",
        "process ids",
    )
    groups = [*machine.zombies, *(group for init in machine.inits for group in init.zombies)]
    facts = {
        "namespaces": sum(not init.root for init in machine.inits),
        "zombies that stayed": sum(group.stayed for group in groups),
        "containers known": sum(subject.workload is not None for subject in looked),
        "looked as": "root" if machine.uid == 0 else f"user {machine.uid}",
    }
    return Report(f"PID 1 health of {found.host}", _grouped(findings), [Table("", columns, rows)], facts=facts)


def _row(subject: Subject) -> tuple[object, ...]:
    init = subject.init
    kind_name, kind = kind_of(init)
    word = kind.stop(init, number(subject.asked), assumed=subject.assumed).word
    stop = "not asked" if init.root else f"{subject.asked}{' (assumed)' if subject.assumed else ''}: {word}"
    own = sum(group.stayed for group in init.zombies if group.parent == init.process)
    others = sum(group.stayed for group in init.zombies) - own
    level = lowest(init)
    ids = f"{level.current} of {level.limit}" if level else ("no limit" if init.levels else "unknown")
    name = f"{init.process.name} (the host's init)" if init.root else " ".join(init.arguments) or init.process.name
    short = name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "..."
    container = subject.workload.name if subject.workload else ""
    return (init.process.pid, container, short, kind_name, stop, reaps(init, kind)[0], own, others, ids)


def _grouped(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for the same thing said of many namespaces, so that it can be read in five seconds."""
    groups: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for finding in sorted(findings, key=lambda each: SEVERITIES.index(each.severity)):
        groups[finding.severity, finding.summary, finding.remedy].append(finding)
    return [_merged(group) for group in groups.values()]


def _merged(group: list[Finding]) -> Finding:
    names = [finding.subject for finding in group]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    evidence = list(dict.fromkeys(finding.evidence for finding in group))
    shown = "; ".join(evidence[:2]) + (f"; and {len(evidence) - 2} more" if len(evidence) > 2 else "")
    proof = next((finding.proof for finding in group if finding.proof != "certain"), group[0].proof)
    return replace(group[0], subject=", ".join(names[:_NAMED]) + more, evidence=shown, proof=proof)
