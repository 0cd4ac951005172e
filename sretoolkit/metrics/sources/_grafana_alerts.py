"""Grafana's alert rules, their instances and silences, as states."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sretoolkit.metrics.states import CheckState, State

_SOFT = frozenset({"warning", "warn", "minor", "info", "informational", "low", "none", "p3", "p4", "p5"})
_WHERE = ("instance", "host", "hostname", "node", "pod", "service", "job")
_MISSED = 3  # evaluations that did not take place until it is stale
_FRACTION = re.compile(r"\.(\d{6})\d+")

Labels = tuple[tuple[str, str], ...]


def moment(text: Any) -> datetime | None:
    """A time of the API; None where there is none (the year 1)."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r".\1", str(text)))
    except ValueError:
        return None
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    return found.astimezone(UTC) if found.year > 1 else None


def own_labels(given: Any) -> dict[str, str]:
    """Labels as text, without Grafana's internal ones (``__alert_rule_uid__``)."""
    pairs = given.items() if isinstance(given, Mapping) else ()
    return {str(key): str(value) for key, value in pairs if not str(key).startswith("__")}


def silenced(alerts: Sequence[Mapping[str, Any]]) -> dict[Labels, bool]:
    """The labels of the alerts that Grafana's Alertmanager has, and whether each is silenced."""
    return {
        tuple(sorted(own_labels(alert.get("labels")).items())): bool(section(alert, "status").get("silencedBy"))
        for alert in alerts
    }


def states(
    groups: Sequence[Mapping[str, Any]], muted: Mapping[Labels, bool], now: datetime, source: str
) -> Iterator[CheckState]:
    """One for each instance of each alert rule, or for the rule where it has none."""
    for group in groups:
        for rule in listed(group.get("rules")):
            if rule.get("type", "alerting") != "alerting":
                continue
            instances = listed(rule.get("alerts")) or [
                {"labels": rule.get("labels"), "state": rule.get("state"), "annotations": rule.get("annotations")}
            ]
            for instance in instances:
                yield _state(group, rule, instance, muted, now, source)


def section(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part; empty where there is none."""
    found = given.get(name)
    return found if isinstance(found, Mapping) else {}


def listed(given: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; none when it is no list."""
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _state(
    group: Mapping[str, Any], rule: Mapping[str, Any], instance: Mapping[str, Any],
    muted: Mapping[Labels, bool], now: datetime, source: str,
) -> CheckState:  # fmt: skip
    labels = own_labels(instance.get("labels"))
    word = str(instance.get("state") or "").partition(" ")[0].lower()
    checked = moment(rule.get("lastEvaluation"))
    interval = group.get("interval")
    limit = _MISSED * float(interval) if isinstance(interval, int | float) else 0.0
    said = {**own_labels(rule.get("annotations")), **own_labels(instance.get("annotations"))}
    words = [said.get("summary", ""), said.get("description", ""), str(rule.get("lastError") or "")]
    state = _meant(word, labels, paused=bool(rule.get("isPaused")))
    return CheckState(
        entity=next((labels[name] for name in _WHERE if labels.get(name)), ""),
        check=str(rule.get("name") or ""),
        state=state,
        hard=word != "pending",
        since=moment(instance.get("activeAt")),
        checked_at=checked,
        output=": ".join(text.strip() for text in words if text.strip()),
        in_downtime=muted.get(tuple(sorted(labels.items())), False),
        stale=bool(limit and checked and not rule.get("isPaused") and (now - checked).total_seconds() > limit),
        labels=labels,
        id=str(rule.get("uid") or ""),
        source=source,
    )


def _meant(word: str, labels: Mapping[str, str], *, paused: bool) -> State:
    if paused:
        return "pending"
    if word in ("alerting", "firing", "pending", "recovering"):
        return "warning" if labels.get("severity", "").lower() in _SOFT else "critical"
    return "ok" if word in ("normal", "inactive") else "unknown"
