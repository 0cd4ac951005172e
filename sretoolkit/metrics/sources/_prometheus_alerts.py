"""What a Prometheus says of its alert rules and targets, now and in the past."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from sretoolkit.errors import NoData, SourceError, SourceUnavailable
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.states import CheckState, State
from sretoolkit.report import plain

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.prometheus import Prometheus

_MINOR = frozenset({"warning", "warn", "medium", "minor", "moderate", "low", "info", "notice", "none", "ticket"})
_ABOUT = ("instance", "node", "host", "hostname", "pod", "service", "job")
_TOLD = ("summary", "description", "message", "title")
_PORT = re.compile(r":\d+$")
_ROUNDS = 3  # missed in a row: stale
_SHORTEST = timedelta(minutes=1)
_MOMENTS = 3600  # at which the past of the alerts is looked at


def rule_states(server: Prometheus) -> Iterator[CheckState]:
    """Each alert that is pending (not hard) or firing, and each rule without one as ok, unknown or not evaluated yet."""
    for group in _listed(server, server.page("rules", type="alert"), "groups"):
        for rule in _listed(server, group, "rules"):
            if rule.get("type", "alerting") == "alerting":
                yield from _rule(server, rule, str(group.get("name", "")), float(group.get("interval") or 0))


def target_states(server: Prometheus) -> Iterator[CheckState]:
    """Whether each target can be scraped: its host, and its job as the check."""
    for target in server.targets():
        labels = _texts(target.get("labels"))
        health = str(target.get("health", ""))
        state: State = {"up": "ok", "down": "critical"}.get(health, "pending")  # type: ignore[assignment]
        looked = moment(target.get("lastScrape"))
        yield CheckState(
            entity=host_of(labels),
            check=labels.get("job", str(target.get("scrapePool", ""))),
            state=state,
            checked_at=looked,
            output=plain(target.get("lastError") or ""),
            stale=_stale(server, looked, _interval(target.get("scrapeInterval"))),
            labels=labels,
            id=str(target.get("scrapeUrl", "")),
            source=server.name,
        )


def discovered(server: Prometheus) -> list[Entity]:
    """The hosts that are scraped, each with its jobs and the labels that all its targets share."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for target in server.targets():
        found[host_of(_texts(target.get("labels")))].append(target)
    return [_entity(server, name, targets) for name, targets in sorted(found.items())]


def alert_events(server: Prometheus, window: Window) -> list[Event]:
    """From when to when each alert was pending and firing, as exact as a 3600th of the window (a second at best).

    ``end`` is None for one that still was at the window's end.
    """
    length = window.end - window.start
    step = max(timedelta(seconds=1), timedelta(seconds=-(-length.total_seconds() // _MOMENTS)))
    grid = Grid.of(window=max(length, step), step=step, end=window.end)
    try:
        frame = server.asked("ALERTS", grid)
    except NoData:
        return []
    found = []
    for column, labels in enumerate(frame.labels):
        there = ~np.isnan(frame.values[:, column])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
        found += [_alert_event(server, frame.times, labels, begin, end) for begin, end in edges.reshape(-1, 2).tolist()]
    return sorted((event for event in found if event.within(window)), key=lambda event: event.start)


def state_of(labels: Mapping[str, str]) -> State:
    """How bad a firing alert is: a warning when its severity says so, otherwise critical."""
    return "warning" if labels.get("severity", "").lower() in _MINOR else "critical"


def entity_of(labels: Mapping[str, str], default: str = "") -> str:
    """What an alert is about."""
    if "instance" in labels:
        return host_of(labels)
    return next((labels[name] for name in _ABOUT if labels.get(name)), default)


def host_of(labels: Mapping[str, str]) -> str:
    """The instance without its port."""
    return _PORT.sub("", labels.get("instance", ""))


def told(annotations: Mapping[str, str]) -> str:
    """What an alert's author wants to say."""
    return plain(next((annotations[name] for name in _TOLD if annotations.get(name)), ""))


def moment(text: object) -> datetime | None:
    """An RFC 3339 time; None for one that never was or cannot be read."""
    try:
        found = datetime.fromisoformat(re.sub(r"\.(\d{1,6})\d*", lambda match: f".{match[1]:0<6}", str(text)))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo and found.year > 1 else None


def _rule(server: Prometheus, rule: Mapping[str, Any], group: str, interval: float) -> Iterator[CheckState]:
    name, labels = str(rule.get("name", "")), _texts(rule.get("labels"))
    looked = moment(rule.get("lastEvaluation"))
    given: dict[str, Any] = {
        "check": name,
        "checked_at": looked,
        "stale": _stale(server, looked, timedelta(seconds=interval)),
        "source": server.name,
    }
    alerts = _listed(server, rule, "alerts")
    for alert in alerts:
        own = _texts(alert.get("labels"))
        yield CheckState(
            entity=entity_of(own, group),
            state=state_of(own),
            hard=alert.get("state") == "firing",
            since=moment(alert.get("activeAt")),
            output=told(_texts(alert.get("annotations"))) or f"value {plain(alert.get('value', ''))}",
            labels=own,
            **given,
        )
    broken = rule.get("health") == "err"
    if broken or not alerts:
        state: State = "unknown" if broken else "pending" if looked is None else "ok"
        output = plain(rule.get("lastError") or "")
        yield CheckState(entity=group, state=state, output=output, labels={**labels, "alertname": name}, **given)


def _alert_event(
    server: Prometheus, times: np.ndarray, labels: Mapping[str, str], begin: int, end: int
) -> Event:  # fmt: skip
    state, name = labels.get("alertstate", ""), labels.get("alertname", "")
    about = entity_of({key: value for key, value in labels.items() if key not in ("alertname", "alertstate")})
    rest = [
        f"{key}={value}" for key, value in sorted(labels.items()) if key not in ("__name__", "alertstate", "alertname")
    ]
    return Event(
        start=_utc(times[begin]),
        end=_utc(times[end]) if end < len(times) else None,
        title=plain(f"{name} {state}" + (f": {about}" if about else "")),
        text=plain(", ".join(rest)) + ("" if begin else " (already so when the window began)"),
        tags=("alert", state),
        source=server.name,
    )


def _entity(server: Prometheus, name: str, targets: Sequence[Mapping[str, Any]]) -> Entity:
    labelled = [_texts(target.get("labels")) for target in targets]
    shared = set.intersection(*(set(labels.items()) for labels in labelled))
    jobs = sorted({labels.get("job", "") for labels in labelled} - {""})
    addresses = sorted({urlsplit(str(target.get("scrapeUrl", ""))).hostname or "" for target in targets} - {""})
    return Entity(
        name=name,
        address=addresses[0] if len(addresses) == 1 else "",
        groups=jobs,
        labels=dict(sorted(shared)),
        services=jobs,
        source=server.name,
    )


def _listed(server: Prometheus, content: Any, name: str) -> list[dict[str, Any]]:
    found = content.get(name) if isinstance(content, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _odd(server, name)
    return found


def _odd(server: Prometheus, name: str) -> SourceError:
    hint = "does url lead to Prometheus itself?"
    return SourceUnavailable(
        f"{server.name} gives {name} in a form that is not Prometheus's", source=server.name, hint=hint
    )


def _texts(given: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}


def _stale(server: Prometheus, looked: datetime | None, interval: timedelta) -> bool:
    return looked is not None and server.clock.now() - looked > max(_ROUNDS * interval, _SHORTEST)


def _interval(text: object) -> timedelta:
    """As Prometheus writes it: 1m30s, 500ms."""
    sizes = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 31_536_000.0}
    parts = re.findall(r"(\d+)(ms|[smhdwy])", str(text or ""))
    return timedelta(seconds=sum(int(number) * sizes[unit] for number, unit in parts))


def _utc(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
