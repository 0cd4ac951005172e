"""From a Sensu event to states, changes and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sretoolkit.metrics.states import CheckState, Perfdata, State, perfdata

HISTORY = 21  # the backend keeps so many results of a check
MARKER = "sretoolkit_marker"
_STATES: dict[int, State] = {0: "ok", 1: "warning", 2: "critical"}
_MISSED = 3  # intervals without a result until it is stale
_LONGEST = 10**11  # a later second than the year 5138: it is a smaller unit


class Result(NamedTuple):
    """One entry of a check's history."""

    time: float
    state: State


class Point(NamedTuple):
    """One number of an event's metrics."""

    time: float
    labels: Mapping[str, str]
    value: float


def section(event: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """A part of an event; empty where there is none."""
    found: Any = event
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def names(event: Mapping[str, Any]) -> tuple[str, str]:
    """The entity and the check that it is of; "" for an event that has metrics only."""
    entity, check = (str(section(event, part, "metadata").get("name") or "") for part in ("entity", "check"))
    return entity, check


def is_marker(event: Mapping[str, Any]) -> bool:
    """Whether we wrote it as a marker."""
    return MARKER in section(event, "check", "metadata", "labels")


def number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    return found if math.isfinite(found) else None


def listed(value: Any) -> Sequence[Mapping[str, Any]]:
    """The objects of a list; none when it is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def moment(seconds: Any) -> datetime | None:
    """A time; None where there is none (0)."""
    try:
        return datetime.fromtimestamp(number(seconds) or 0, UTC) if number(seconds) else None
    except (ValueError, OverflowError, OSError):
        return None


def in_seconds(stamp: Any) -> float:
    """A time of a metric point, whatever unit its producer used: seconds, or thousandths by its magnitude."""
    value = number(stamp) or 0.0
    while abs(value) >= _LONGEST:
        value /= 1000
    return value


def history(event: Mapping[str, Any]) -> Sequence[Result]:
    """The results that are kept, oldest first; those without a time are left out."""
    found = [
        Result(time, state_of(entry.get("status", 0)))
        for entry in listed(section(event, "check").get("history"))
        if (time := number(entry.get("executed")))
    ]
    return sorted(found, key=lambda one: one.time)


def state_of(status: Any) -> State:
    """0 ok, 1 warning, 2 critical; anything else is unknown."""
    return _STATES.get(status, "unknown") if isinstance(status, int) else "unknown"


def changes(event: Mapping[str, Any]) -> Iterator[tuple[float, State, State]]:
    """When its state changed, as far as the history goes: the time, from which, to which."""
    for before, after in pairwise(history(event)):
        if before.state != after.state:
            yield after.time, before.state, after.state


def check_state(event: Mapping[str, Any], now: datetime, source: str) -> CheckState:
    """The state of the check that an event is of."""
    entity, name = names(event)
    check = section(event, "check")
    checked = moment(check.get("executed")) or moment(event.get("timestamp"))
    output = str(check.get("output") or "").strip()
    is_perfdata = check.get("output_metric_format") == "nagios_perfdata"
    numbers: Sequence[Perfdata] = perfdata(output.partition("|")[2]) if is_perfdata else ()
    return CheckState(
        entity=entity,
        check=name,
        state=state_of(check.get("status", 0)),
        since=_since(event),
        checked_at=checked,
        output=output,
        perfdata=numbers,
        in_downtime=bool(check.get("is_silenced") or check.get("silenced")),
        stale=is_stale(check, checked, now),
        labels=labels_of(event),
        id=f"{entity}/{name}",
        source=source,
    )


def labels_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The labels of the entity and of the check; the check's go before."""
    both = {**section(event, "entity", "metadata", "labels"), **section(event, "check", "metadata", "labels")}
    return {str(key): str(value) for key, value in both.items()}


def is_stale(check: Mapping[str, Any], checked: datetime | None, now: datetime) -> bool:
    """No result for longer than its time to live, or for three intervals of a check that the backend schedules."""
    limit = number(check.get("ttl")) or (missed(check) if check.get("publish") else 0)
    return bool(limit and checked and (now - checked).total_seconds() > limit)


def missed(check: Mapping[str, Any]) -> float:
    """How many seconds after a result something is wrong; 0 without an interval."""
    return _MISSED * (number(check.get("interval")) or 0.0)


def points(event: Mapping[str, Any], metric: str) -> Iterator[Point]:
    """The numbers of that name, with entity, check and tags as labels."""
    entity, check = names(event)
    own = {"entity": entity, **({"check": check} if check else {})}
    for point in listed(section(event, "metrics").get("points")):
        value = number(point.get("value", 0))
        if point.get("name") == metric and value is not None:
            tags = {str(tag.get("name")): str(tag.get("value")) for tag in listed(point.get("tags"))}
            stamp = in_seconds(point.get("timestamp")) or number(event.get("timestamp")) or 0.0
            yield Point(stamp, {**tags, **own}, value)


def addresses(entity: Mapping[str, Any]) -> Iterator[str]:
    """The entity's addresses that reach it from elsewhere."""
    for interface in listed(section(entity, "system", "network").get("interfaces")):
        for address in interface.get("addresses") or ():
            bare = str(address).partition("/")[0]
            if bare and not bare.startswith(("127.", "::1", "fe80:")):
                yield bare


def _since(event: Mapping[str, Any]) -> datetime | None:
    """When it came to be in its state; None when that is longer ago than the history goes."""
    results = history(event)
    run = 0
    while run < len(results) and results[-1 - run].state == results[-1].state:
        run += 1
    if not run or (run == len(results) >= HISTORY):
        return None
    return moment(results[-run].time)
