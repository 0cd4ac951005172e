"""The report of one look at a host: one line a namespace, and a finding for what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1.init import kind_of, reaps
from sretoolkit.pid1.process import Init, Machine, scan
from sretoolkit.pid1.signals import number
from sretoolkit.pid1.verdict import judge, lowest
from sretoolkit.report import SEVERITIES, Finding, Report, Table

_NAMED = 4  # subjects that a grouped finding names
_WIDTH = 60  # characters of a command line


def health(host_name: str, config: Config | None = None, *, stop_signal: str | None = None) -> Report:
    """The first process of every PID namespace of a host: will it stop, who leaves zombies, how many ids are left.

    ``stop_signal`` is the one that the containers are stopped with; /proc does not tell it, so without it SIGTERM is
    assumed. Reads only, in one round trip; raises what `connect` and `Host.run` raise.
    """
    number(stop_signal or "SIGTERM")
    with connect(host_name, config) as host:
        machine = scan(host)
    return report(machine, host_name, stop_signal=stop_signal)


def report(machine: Machine, host_name: str, *, stop_signal: str | None = None) -> Report:
    """The report on what a scan found."""
    asked, assumed = stop_signal or "SIGTERM", stop_signal is None
    findings = judge(machine, host_name, asked, assumed=assumed)
    rows = [_row(init, asked, assumed=assumed) for init in machine.inits]
    columns = ("pid", "first process", "kind", asked, "reaps orphans", "its zombies", "others' zombies", "process ids")
    groups = [*machine.zombies, *(group for init in machine.inits for group in init.zombies)]
    facts = {
        "namespaces": sum(not init.root for init in machine.inits),
        "zombies that stayed": sum(group.stayed for group in groups),
        "stop signal": f"{asked} (assumed)" if assumed else asked,
        "looked as": "root" if machine.uid == 0 else f"user {machine.uid}",
    }
    return Report(f"PID 1 health of {host_name}", _grouped(findings), [Table("", columns, rows)], facts=facts)


def _row(init: Init, asked: str, *, assumed: bool) -> tuple[object, ...]:
    kind_name, kind = kind_of(init)
    word = "not asked" if init.root else kind.stop(init, number(asked), assumed=assumed).word
    own = sum(group.stayed for group in init.zombies if group.parent == init.process)
    others = sum(group.stayed for group in init.zombies) - own
    level = lowest(init)
    ids = f"{level.current} of {level.limit}" if level else ("no limit" if init.levels else "unknown")
    name = f"{init.process.name} (the host's init)" if init.root else " ".join(init.arguments) or init.process.name
    short = name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "..."
    return (init.process.pid, short, kind_name, word, reaps(init, kind)[0], own, others, ids)


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
