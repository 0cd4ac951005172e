"""PID 1 in a whole Kubernetes namespace or cluster: by the API alone, and from inside the pods where that is allowed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, HostError
from sretoolkit.hosts import Host
from sretoolkit.hosts.cluster import Cluster
from sretoolkit.hosts.connection import open_connection
from sretoolkit.hosts.endpoint import Endpoint
from sretoolkit.pid1.pods import Container, containers
from sretoolkit.pid1.process import scan
from sretoolkit.pid1.verdict import judge, subjects
from sretoolkit.pid1.workload import remedy
from sretoolkit.report import Finding, Report, Severity, Table

_AT_ONCE = 8  # scans in pods: each is a process of theirs and a stream through the API server
_SCAN_TIMEOUT = 60.0
_NAMED = 3  # pods that a finding names
_BLIND = "blind"
_ABOVE = ("ids-unlimited",)  # what takes a look at the cgroups above a container, which its own view does not show
_SHARED = (*_ABOVE, "stop-", "reaping-")  # the pod's pause program is first then: it stops, and it reaps


@dataclass(frozen=True)
class Seen:
    """A container, what was found of it, and what is known of its first process ("" = nobody looked inside)."""

    container: Container
    findings: tuple[Finding, ...]
    first: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found in a cluster; ``troubles`` are about what could not be asked."""

    cluster: str
    scope: str
    seen: tuple[Seen, ...]
    troubles: tuple[Finding, ...] = ()


def report(
    context: str = "",
    namespaces: Sequence[str] | str = "",
    *,
    execute: bool = False,
    kubeconfig: str = "",
    config: Config | None = None,
) -> Report:
    """The containers of some namespaces ("" = all) of a kubeconfig's context, worst first, grouped by controller and image.

    ``execute``: look from inside too, by a script run in each pod by ``exec`` (it takes the role that may create
    pods/exec, and a shell in the container); without it the first processes themselves are unknown. What is forbidden,
    does not answer or goes away meanwhile is a finding, all else is kept. Raises `ConfigError` for an unknown context.
    """
    return describe(survey(context, namespaces, execute=execute, kubeconfig=kubeconfig, config=config))


def survey(
    context: str = "",
    namespaces: Sequence[str] | str = "",
    *,
    execute: bool = False,
    kubeconfig: str = "",
    config: Config | None = None,
    only: str = "",
) -> Survey:
    """What `report` is made of; reads only. ``only``: one controller (``Deployment/web``), and not its pods that are leaving."""
    asked = [namespaces] if isinstance(namespaces, str) else list(dict.fromkeys(namespaces))
    found: list[Container] = []
    troubles: list[Finding] = []
    with Cluster(context, kubeconfig=kubeconfig) as cluster:
        for namespace in asked:
            try:
                found += containers(cluster, namespace)
            except HostError as error:
                what = f"the pods of {namespace or 'all namespaces'} are not known: {error.message}"
                troubles.append(_unknown(namespace or cluster.name, what, error.hint, "medium"))
        name = cluster.name
    if only:
        found = [each for each in found if each.controller == only and not each.leaving]
    seen = [Seen(each, tuple(_told(each))) for each in found]
    if execute:
        seen = _inside(seen, context, kubeconfig, config)
        what = "a limit of process ids above the pods (podPidsLimit) cannot be seen from inside them"
        troubles.append(_unknown(name, what, "look at their nodes as root", "info"))
    elif any(each.container.running for each in seen):
        what = "nobody looked inside the pods: what their first processes do with a stop signal is unknown"
        troubles.append(_unknown(name, what, "look with exec allowed (execute=True), or at their nodes as root", "low"))
    return Survey(name, ", ".join(asked) or "all namespaces", tuple(seen), tuple(troubles))


def _unknown(subject: str, summary: str, hint: str, severity: Severity) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, remedy=hint, rule=_BLIND)


def _told(container: Container) -> Iterator[Finding]:
    """What the API alone says: the free ledger of ends, and a grace period that is none."""
    name, workload = container.workload.name, container.workload
    killed = [end for end in container.ends if end.killed]
    if killed:
        last = max(killed, key=lambda end: end.at)
        restarts = f"{container.restarts} restarts" if container.restarts != 1 else "1 restart"
        yield Finding(
            severity="high" if container.probed else "medium",
            subject=name,
            summary="it was killed when it last ended: exit code 137, and not for its use of memory",
            evidence=f"ended at {last.at} ({last.reason or 'no reason given'}); {restarts}",
            remedy=remedy("init", workload),
            rule="stop-observed",
        )
    if workload.grace < 1:
        yield Finding(
            severity="medium",
            subject=name,
            summary="its grace period is 0: it is killed at once, whatever it does with a stop signal",
            proof="certain",
            remedy="terminationGracePeriodSeconds: 30, or what it needs",
            rule="grace-none",
        )


def _inside(seen: Sequence[Seen], context: str, kubeconfig: str, config: Config | None) -> list[Seen]:
    """The same with a scan of each running container; what vanished meanwhile is said, the rest is kept."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        jobs = [threads.submit(_scanned, each, context, kubeconfig, config or Config.load()) for each in seen]
        return [job.result() for job in jobs]


def _scanned(seen: Seen, context: str, kubeconfig: str, config: Config) -> Seen:
    container, workload = seen.container, seen.container.workload
    if not container.running or container.leaving:
        return seen
    options = {"context": context, "kubeconfig": kubeconfig, "namespace": container.namespace, "pod": container.pod}
    given = {key: value for key, value in {**options, "container": container.name}.items() if value}
    endpoint = Endpoint(workload.name, "kubernetes", given)
    try:
        with Host(endpoint, open_connection(endpoint, config)) as host:
            machine = scan(host, ask="none", timeout=_SCAN_TIMEOUT)
    except (HostError, ConfigError) as error:
        what = f"what its first process does is unknown: {error.message.removeprefix(f'{workload.name}: ')}"
        return replace(seen, findings=(*seen.findings, _unknown(workload.name, what, error.hint, "low")))
    first = machine.inits[0].program if machine.inits else "hidden"
    if machine.root_view:
        return replace(seen, first="the node's own (hostPID)")
    looked = [
        replace(subject, assumed=not container.signal_known)
        for subject in subjects(machine.inits, workload.host, {1: workload}, None)
    ]
    rulings = [
        each.finding
        for each in judge(machine, workload.host, looked)
        if each.subject is not None and not each.finding.rule.startswith(_SHARED if workload.shared else _ABOVE)
    ]
    shown = f"{first} (shared)" if workload.shared else first
    return replace(seen, findings=(*seen.findings, *rulings), first=shown)


def describe(found: Survey) -> Report:
    """The report on one survey: a finding and a line for each container of a controller, not for each of its pods."""
    groups: dict[tuple[str, str, str, str], list[Seen]] = defaultdict(list)
    for each in found.seen:
        one = each.container
        groups[one.namespace, one.controller, one.name, one.workload.image].append(each)
    findings = [finding for group in groups.values() for finding in _grouped(group)]
    columns = (
        "namespace",
        "controller",
        "container",
        "image",
        "pods",
        "first process",
        "stop signal",
        "grace",
        "restarts",
        "killed",
    )
    rows = [_row(group) for group in groups.values()]
    facts = {
        "pods": len({(each.container.namespace, each.container.pod) for each in found.seen}),
        "containers": len(found.seen),
        "looked inside": sum(bool(each.first) for each in found.seen),
    }
    title = f"PID 1 health of {found.scope} in {found.cluster}"
    return Report(title, [*found.troubles, *findings], [Table("", columns, rows)], facts=facts)


def _grouped(group: Sequence[Seen]) -> Iterator[Finding]:
    """The same said of several pods of one controller is said once."""
    same: dict[tuple[str, str, str], list[Finding]] = defaultdict(list)
    for each in group:
        for finding in each.findings:
            same[finding.rule, finding.severity, finding.summary].append(finding)
    one = group[0].container
    subject = f"{one.namespace}/{one.controller}, container {one.name}"
    for findings in same.values():
        pods = list(dict.fromkeys(finding.subject.split("/")[1] for finding in findings if "/" in finding.subject))
        more = f" and {len(pods) - _NAMED} more" if len(pods) > _NAMED else ""
        where = f"{len(findings)} of {len(group)} pods ({', '.join(pods[:_NAMED])}{more})"
        evidence = next((finding.evidence for finding in findings if finding.evidence), "")
        yield replace(findings[0], subject=subject, evidence=f"{evidence}; {where}" if evidence else where)


def _row(group: Sequence[Seen]) -> tuple[object, ...]:
    one = group[0].container
    first = ", ".join(dict.fromkeys(each.first for each in group if each.first)) or "unknown"
    signal = one.workload.stop_signal + ("" if one.signal_known else " (assumed)")
    restarts = sum(each.container.restarts for each in group)
    killed = sum(end.killed for each in group for end in each.container.ends)
    return (
        one.namespace,
        one.controller,
        one.name,
        one.workload.image,
        len(group),
        first,
        signal,
        f"{one.workload.grace:g} s",
        restarts,
        killed,
    )
