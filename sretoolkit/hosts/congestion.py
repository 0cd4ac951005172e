"""TCP congestion control: which algorithm new connections get, and changing it.

Linux has pluggable algorithms and one setting for IPv4 and IPv6 alike, ``net.ipv4.tcp_congestion_control``, for each
network namespace. It holds for sockets that are opened (or accepted) after the change; open ones keep theirs, and a
route or an application may choose its own.
"""

from __future__ import annotations

import re
from collections import Counter
from difflib import get_close_matches

from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.host import Host, connect
from sretoolkit.hosts.sysctl import SetSysctl
from sretoolkit.plan import Plan
from sretoolkit.report import Finding, Report, Table

KEY = "net.ipv4.tcp_congestion_control"
_AVAILABLE = "net.ipv4.tcp_available_congestion_control"
_ALLOWED = "net.ipv4.tcp_allowed_congestion_control"
_NAME = re.compile(r"[a-z0-9_-]{1,15}")

MEANING = {
    "reno": "the classic: adds one segment a round trip, halves on loss; always there as the fallback",
    "cubic": "Linux's default: grows by a cubic curve since the last loss; good on long fat paths, fills buffers",
    "bbr": "paces by measured bandwidth and round trip; tolerates random loss, keeps queues short",
    "dctcp": "for data centres with ECN marking in the switches; unfair and fragile without it",
    "vegas": "backs off when the delay grows; loses against loss-based neighbours",
    "westwood": "estimates bandwidth after a loss; made for radio links",
    "htcp": "grows with the time since the last loss; for long fat paths",
    "hybla": "makes up for long round trips; made for satellite links",
    "bic": "the forerunner of cubic",
    "illinois": "loss-based, with steps sized by the delay; for long fat paths",
    "scalable": "multiplicative growth; aggressive, for very fast long paths",
    "highspeed": "RFC 3649; grows faster when the window is large",
    "yeah": "loss and delay mixed; for long fat paths",
    "veno": "tells random loss from congestion by the delay; made for radio links",
    "nv": "delay-based, for data centres",
    "lp": "low priority: gives way to other traffic; for background transfers",
    "cdg": "delay gradient; tolerates loss, shares with loss-based neighbours",
}


def congestion(host_name: str, config: Config | None = None) -> Report:
    """Which algorithms a host has, which one new connections get, and which ones its open connections use.

    Raises `HostError` when the host has no such setting, and what `connect` and `Host.run` raise.
    """
    with connect(host_name, config) as host:
        current, available, allowed = _settings(host)
        used = _sockets(host, {*available, *MEANING})
    rows = [
        (name, MEANING.get(name, ""), "default" if name == current else "", _yes(name in allowed), _count(used, name))
        for name in dict.fromkeys([*available, *(used or ())])
    ]
    table = Table(
        "", ("algorithm", "what it does", "new sockets", "any program may choose it", "open connections"), rows
    )
    facts = {"new connections get": current, "available": ", ".join(available), "allowed": ", ".join(allowed)}
    title = f"TCP congestion control of {host_name}"
    return Report(title, _findings(host_name, current, used), [table], facts=facts)


def change_congestion(host_name: str, algorithm: str, config: Config | None = None) -> Plan:
    """A plan by which new TCP connections (IPv4 and IPv6) get ``algorithm``; without steps when they do already.

    Raises `PlanError` when the host does not have the algorithm, with the module to load, and when the host is a
    network namespace and the kernel would refuse it there.
    """
    with connect(host_name, config) as host:
        current, available, allowed = _settings(host)
        if algorithm not in available:
            what = f"{host_name} has no TCP congestion control {algorithm!r}; available: {', '.join(available)}"
            raise PlanError(what, hint=_way(host, algorithm, available))
        if host.endpoint.netns and algorithm not in allowed:
            raise _restricted(host, algorithm, allowed)
        steps = [] if algorithm == current else [SetSysctl.on(host, KEY, algorithm)]
    return Plan(f"TCP congestion control of {host_name}: {algorithm}", steps)


def _settings(host: Host) -> tuple[str, list[str], list[str]]:
    found = host.platform.sysctls([KEY, _AVAILABLE, _ALLOWED])
    if KEY not in found or _AVAILABLE not in found:
        what = f"{host.name}: {KEY} cannot be read; its kernel has no TCP, or /proc/sys is hidden"
        raise HostError(what, host=host.name, hint="run sysctl -a there")
    return found[KEY], found[_AVAILABLE].split(), found.get(_ALLOWED, "").split()


def _sockets(host: Host, names: set[str]) -> Counter[str] | None:
    """Open connections by algorithm; None where there is no ``ss``."""
    result = host.run(["ss", "-H", "-t", "-i", "-n"], timeout=60, check=False)
    if not result.ok:
        return None
    details = (line.split() for line in result.stdout.splitlines() if line[:1].isspace())
    firsts = (next((word for word in words if word in names), "") for words in details)
    return Counter(name for name in firsts if name)


def _findings(host_name: str, current: str, used: Counter[str] | None) -> list[Finding]:
    if used is None:
        summary, remedy = "open connections are not counted: there is no usable ss", "install iproute2 there"
        return [Finding(severity="info", subject=host_name, summary=summary, remedy=remedy)]
    others = sum(count for name, count in used.items() if name != current)
    if not others:
        return []
    summary = f"{others} open connections use another algorithm than new ones will ({current})"
    remedy = "a connection keeps its algorithm until it is closed; restart the client or server to move it"
    return [Finding(severity="info", subject=host_name, summary=summary, evidence="ss -ti", remedy=remedy)]


def _restricted(host: Host, algorithm: str, allowed: list[str]) -> PlanError:
    what = f"{host.name}: a network namespace may only use an allowed algorithm, {algorithm!r} is not; allowed: "
    command = f"sysctl -w {_ALLOWED}='{' '.join([*allowed, algorithm])}'"
    return PlanError(
        what + ", ".join(allowed), hint=f"allow it on the machine itself, outside the namespace: {command}"
    )


def _way(host: Host, algorithm: str, available: list[str]) -> str:
    near = get_close_matches(algorithm, [*available, *MEANING], n=1)
    if not _NAME.fullmatch(algorithm) or (algorithm not in MEANING and near):
        return f"did you mean {near[0]!r}?" if near else "write one of the available ones"
    module = f"tcp_{algorithm}"
    load = host.by_hand(["modprobe", module])
    if host.run(["modinfo", module], timeout=30, check=False).ok:
        return f"its kernel has the module: {load}"
    return f"load its module, if that kernel has one: {load}"


def _yes(condition: bool) -> str:
    return "yes" if condition else ""


def _count(used: Counter[str] | None, name: str) -> str:
    return "unknown" if used is None else str(used[name])
