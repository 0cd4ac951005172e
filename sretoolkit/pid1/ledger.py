"""The stop ledger: what Docker's own events tell of stops that have happened, for nothing: told, killed, ended.

A container that is told to stop, then killed, then ends with 137 did not honour its signal: that is observed, not inferred.
The engine keeps its last 256 events (of all kinds) since it was started, so the past that is seen may be short.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import HostError
from sretoolkit.hosts import Host, connect
from sretoolkit.pid1.signals import name as signal_name
from sretoolkit.pid1.workload import RUNTIMES, Workload, remedy
from sretoolkit.report import Finding, Report, Table

_SIGKILL = 9
# Whole seconds: up to the end of this one, or what has just happened would be missing.
_SCRIPT = """command -v docker >/dev/null 2>&1 || { echo absent; exit 0; }
set -- --since "$1" --until $(($(date +%s) + 1)) --filter type=container --filter event=kill --filter event=die
docker events "$@" --format '{{json .}}' || exit 1
echo end"""


@dataclass(frozen=True)
class Stop:
    """One stop that was asked for: by which signal, how long it took, whether it ended in SIGKILL; seconds and UTC."""

    container: str
    image: str
    at: datetime
    signal: str
    seconds: float
    exit_code: int
    killed: bool


def stops(host: Host, *, since: timedelta) -> list[Stop]:
    """The stops of a host's Docker containers, oldest first; [] where there is no Docker. Raises `HostError`."""
    seconds = f"{max(1, round(since.total_seconds()))}s"
    answer = host.run(["sh", "-c", _SCRIPT, "sh", seconds], timeout=60, check=False)
    lines = answer.stdout.splitlines()
    if lines == ["absent"]:
        return []
    if not answer.ok or lines[-1:] != ["end"]:
        said = answer.stderr.strip().splitlines()
        what = f"{host.name}: Docker's events cannot be read: {said[-1][:200] if said else 'it said nothing'}"
        raise HostError(what, host=host.name, hint="root and the group docker may ask it")
    try:
        return list(_folded(json.loads(line) for line in lines[:-1]))
    except (ValueError, KeyError, TypeError) as error:
        what = f"{host.name}: Docker's events are in a form that is not known here ({type(error).__name__})"
        raise HostError(what, host=host.name, hint="`docker version` on that host tells how old it is") from error


def ledger(host_name: str, *, since: timedelta = timedelta(days=1), config: Config | None = None) -> Report:
    """How the Docker containers of a host stopped lately, by image; those that had to be killed are findings."""
    with connect(host_name, config) as host:
        found = stops(host, since=since)
    by_image: dict[tuple[str, str], list[Stop]] = defaultdict(list)
    for stop in found:
        by_image[stop.image, stop.signal].append(stop)
    rows, findings = [], []
    for (image, signal), group in sorted(by_image.items()):
        killed = [stop for stop in group if stop.killed]
        slowest = max(stop.seconds for stop in group)
        rows.append(
            (image, signal, len(group), len(killed), f"{slowest:.1f} s", group[-1].at.strftime("%Y-%m-%d %H:%M:%S"))
        )
        if killed:
            findings.append(_finding(image, signal, len(group), killed))
    columns = ("image", "signal", "stops", "killed", "slowest", "last (UTC)")
    oldest = found[0].at.strftime("%Y-%m-%d %H:%M:%S UTC") if found else "none"
    facts = {"stops": len(found), "killed": sum(stop.killed for stop in found), "oldest seen": oldest}
    return Report(f"Stops seen on {host_name}", findings, [Table("", columns, rows)], facts=facts)


def _finding(image: str, signal: str, count: int, killed: list[Stop]) -> Finding:
    names = ", ".join(dict.fromkeys(stop.container for stop in killed[-4:]))
    cure = remedy("init", Workload(runtime="docker", name=names)) if "docker" in RUNTIMES else remedy("init")
    return Finding(
        severity="high",
        subject=image,
        summary=f"{len(killed)} of {count} stops by {signal} ended in SIGKILL",
        evidence=f"{names}: last at {killed[-1].at:%Y-%m-%d %H:%M:%S} UTC after {killed[-1].seconds:.1f} s",
        remedy=f"{cure}; `sretoolkit pid1` tells why",
        rule="stop-observed",
    )


def _folded(events: Iterable[Mapping[str, Any]]) -> Iterable[Stop]:
    """One stop for each first signal that was followed by an end; a kill alone was no stop."""
    asked: dict[str, tuple[int, float]] = {}
    last: dict[str, int] = {}
    for event in events:
        identifier, about = event["Actor"]["ID"], event["Actor"]["Attributes"]
        moment = event["timeNano"] / 1e9
        if event["Action"] == "kill":
            number = int(about["signal"])
            last[identifier] = number
            if number != _SIGKILL:
                asked.setdefault(identifier, (number, moment))
            continue
        told, final = asked.pop(identifier, None), last.pop(identifier, 0)
        if told is None:
            continue
        yield Stop(
            container=str(about.get("name", "")),
            image=str(about.get("image", "")),
            at=datetime.fromtimestamp(moment, UTC),
            signal=signal_name(str(told[0])),
            seconds=moment - told[1],
            exit_code=int(about["exitCode"]),
            killed=final == _SIGKILL,
        )
