"""What is wrong now, everywhere: every system's checks and alerts, merged, the worst first, with what changed before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.errors import NotExpressible, SREToolkitError
from sretoolkit.metrics.asking import PATIENCE, Answers, everywhere
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.states import STATES, CheckState, State, worst_first
from sretoolkit.report import Finding, Report, Severity, Table

if TYPE_CHECKING:
    from sretoolkit.chart import Chart
    from sretoolkit.metrics.source import MetricSource

_SEVERITY: dict[State, Severity] = {"critical": "critical", "warning": "medium", "unknown": "high"}
_SUSPECT = timedelta(minutes=30)  # a change this long before an alert may be its cause
_LISTED = 50
_PORT = re.compile(r":\d+$")
_ADDRESS = re.compile(r"[\d.]+|\[?[0-9a-fA-F:]+\]?")


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong, whoever says so: the same check of the same entity in several systems is one trouble."""

    entity: str
    check: str
    states: Sequence[CheckState]

    @property
    def worst(self) -> CheckState:
        """The state that counts."""
        return worst_first(self.states)[0]

    @property
    def since(self) -> datetime | None:
        """When the first system saw it."""
        return min((state.since for state in self.states if state.since), default=None)

    @property
    def handled(self) -> str:
        """Why nobody has to act; "" when somebody has to."""
        if any(state.actionable for state in self.states):
            return ""
        return "acknowledged" if any(state.acknowledged for state in self.states) else "downtime or silence"


def troubles(states: Iterable[CheckState]) -> list[Trouble]:
    """What is bad, merged over the systems by host name (without port and domain) and check, the worst first."""
    groups: dict[tuple[str, str], list[CheckState]] = {}
    for state in states:
        if state.bad:
            groups.setdefault((host_name(state.entity), _plain_name(state.check)), []).append(state)
    found = [Trouble(entity, told[0].check, told) for (entity, _), told in groups.items()]
    order = {id(state): place for place, state in enumerate(worst_first([trouble.worst for trouble in found]))}
    return sorted(found, key=lambda trouble: order[id(trouble.worst)])


def host_name(entity: str) -> str:
    """By which the same machine is known in every system: no port, no domain, small letters; addresses stay whole."""
    given = entity.strip().lower()
    bare = _PORT.sub("", given) if given.count(":") == 1 or "]" in given else given
    return bare if _ADDRESS.fullmatch(bare) else bare.partition(".")[0]


def suspects(trouble: Trouble, events: Sequence[Event]) -> list[Event]:
    """What changed shortly before it began, the nearest first; changes that name the machine or its service come first."""
    if trouble.since is None:
        return []
    since = trouble.since
    near = [event for event in events if timedelta(0) <= since - event.start <= _SUSPECT]
    words = {
        trouble.entity,
        *(value.lower() for state in trouble.states for value in state.labels.values() if len(value) > 2),
    }

    def key(event: Event) -> tuple[bool, timedelta]:
        told = f"{event.title} {event.text} {' '.join(event.tags)}".lower()
        return not any(word in told for word in words), since - event.start

    return sorted(near, key=key)


def alerts(
    sources: Sequence[str] = (),
    *,
    every: bool = False,
    patience: timedelta = PATIENCE,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Report:
    """What is wrong now in all sources (or those named), merged and worst first; ``every`` lists good states too.

    A source that does not answer is a finding: its silence is not peace.
    """
    now = (clock or Clock()).now()
    answers = everywhere(_checks, sources, patience=patience, config=config, clock=clock)
    states = [state for told in answers.found.values() for state in told]
    return _report("Alerts", troubles(states), answers, states, now, every=every)


def triage(
    sources: Sequence[str] = (),
    *,
    window: timedelta = timedelta(hours=3),
    patience: timedelta = PATIENCE,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Report:
    """`alerts`, with what changed shortly before each, and the configured indicators over ``window`` with those changes."""
    config = config or Config.load()
    now = (clock or Clock()).now()
    asked = everywhere(
        lambda source: _asked(source, Window(now - window, now), config),
        sources,
        patience=patience,
        config=config,
        clock=clock,
    )
    checks = Answers(
        {name: told.checks for name, told in asked.found.items() if told.checks is not None},
        _refused(asked),
        asked.seconds,
    )
    states = [state for told in checks.found.values() for state in told]
    events = sorted((event for told in asked.found.values() for event in told.events), key=lambda event: event.start)
    changes = [event for event in events if _is_change(event)]
    found = troubles(states)
    report = _report("Alert triage", found, checks, states, now, changes=changes)
    marks = [event.annotation() for event in changes]
    charts = [replace(chart, annotations=marks) for told in asked.found.values() for chart in told.charts]
    rows = [
        [_time(event.start, now), event.title, ", ".join(event.tags), event.source]
        for event in reversed(changes[-_LISTED:])
    ]
    tables = [*report.tables, Table("what changed", ["when", "what", "tags", "source"], rows)]
    return replace(report, tables=tables, charts=charts, facts={**report.facts, "changes": len(changes)})


@dataclass(frozen=True)
class _Told:
    checks: list[CheckState] | None
    error: SREToolkitError | None
    events: list[Event]
    charts: list[Chart]


def _asked(source: MetricSource, window: Window, config: Config) -> _Told:
    """All of one source; what it does not have, or fails at beside its checks, leaves the rest."""
    checks, error = None, None
    try:
        checks = _checks(source)
    except SREToolkitError as refusal:
        error = refusal
    events: list[Event] = []
    if "events" in source.capabilities:
        try:
            events = [replace(event, source=source.name) for event in source.events(window)]
        except SREToolkitError as refusal:
            error = error or refusal
    return _Told(checks, error, events, list(_charts(source, window, config)))


def _charts(source: MetricSource, window: Window, config: Config) -> Iterable[Chart]:
    wanted = {
        config.endpoint("slos", name)["sli"]
        for name in config.names("slos")
        if config.endpoint("slos", name).get("source") == source.name
    }
    for name in sorted(wanted):
        try:
            sli = SLI.from_config(name, config)
            yield sli.range(source, window=window.end - window.start, end=window.end).chart(f"{name} ({source.name})")
        except SREToolkitError:  # the budgets' own report says what is wrong with an indicator
            continue


def _refused(asked: Answers[_Told]) -> Mapping[str, SREToolkitError]:
    return {**asked.errors, **{name: told.error for name, told in asked.found.items() if told.error is not None}}


def _checks(source: MetricSource) -> list[CheckState]:
    return [replace(state, source=source.name) for state in source.checks()]


def _is_change(event: Event) -> bool:
    """Deploys and the like; a system's own state changes and silences are no cause of anything."""
    words = " ".join((event.title, *event.tags)).lower()
    return any(
        word in words
        for word in (
            "deploy",
            "release",
            "rollout",
            "rollback",
            "change",
            "config",
            "restart",
            "migrat",
            "upgrade",
            "sre-",
        )
    )


def _report(
    title: str, found: Sequence[Trouble], answers: Answers[list[CheckState]], states: Sequence[CheckState], now: datetime,
    *, every: bool = False, changes: Sequence[Event] = (),
) -> Report:  # fmt: skip
    open_ones = [trouble for trouble in found if not trouble.handled]
    findings = [_finding(trouble, now, suspects(trouble, changes)) for trouble in open_ones[:_LISTED]]
    if len(open_ones) > _LISTED:
        summary = f"{len(open_ones) - _LISTED} more are in the table only"
        findings.append(Finding(severity="info", subject="more", summary=summary))
    findings += answers.findings("alerts")
    if not answers.found:
        summary, remedy = "no source that tells of alerts answered: nothing is known", "`sretoolkit sources` shows why"
        findings.append(Finding(severity="high", subject="alerts", summary=summary, proof="certain", remedy=remedy))
    columns = ["state", "host", "check", "since", "seen by", "handled", "says"]
    rows = [_row(trouble, now) for trouble in found]
    tables = [Table("what is wrong", columns, rows)]
    if every:
        good = [state for state in worst_first(states) if not state.bad]
        tables.append(
            Table(
                "the rest",
                ["state", "host", "check", "source", "says"],
                [[one.state, one.entity, one.check, one.source, _first(one.output)] for one in good],
            )
        )
    counts = {
        state: sum(trouble.worst.state == state for trouble in open_ones) for state in STATES if state in _SEVERITY
    }
    missing = sum(not isinstance(error, NotExpressible) for error in answers.errors.values())
    facts: dict[str, Any] = {
        **{str(state): count for state, count in counts.items() if count},
        "handled": len(found) - len(open_ones),
        "ok": sum(state.state == "ok" for state in states),
        "sources": f"{len(answers.found)} of {len(answers.found) + missing} answered",
        "at": f"{now:%Y-%m-%d %H:%M:%S} UTC",
    }
    return Report(title, findings, tables, facts=facts)


def _finding(trouble: Trouble, now: datetime, before: Sequence[Event]) -> Finding:
    worst = trouble.worst
    seen = ", ".join(sorted({state.source for state in trouble.states}))
    lines = [f"seen by {seen}" + (f" since {_time(trouble.since, now)}" if trouble.since else "")]
    lines += [f"{state.source}: {_first(state.output)}" for state in trouble.states if state.output]
    lines += [
        f"{_minutes(trouble.since - event.start)} before: {event.title} ({event.source})"
        for event in before[:3]
        if trouble.since
    ]
    marks = "".join(
        [" (soft: first failure, being checked again)" if not worst.hard else "", " (stale)" if worst.stale else ""]
    )
    remedy = f"look at the change first: {before[0].title}" if before else worst.labels.get("runbook_url", "")
    return Finding(
        severity=_SEVERITY[worst.state],
        subject=trouble.entity or worst.source,
        summary=f"{trouble.check or 'the host itself'} is {worst.state}{marks}",
        evidence="\n".join(dict.fromkeys(lines)),
        remedy=remedy,
    )


def _row(trouble: Trouble, now: datetime) -> list[str]:
    worst = trouble.worst
    seen = ", ".join(sorted({state.source for state in trouble.states}))
    return [
        worst.state,
        trouble.entity,
        trouble.check or "(host)",
        _time(trouble.since, now),
        seen,
        trouble.handled,
        _first(worst.output),
    ]


def _time(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "unknown"
    return f"{moment:%H:%M:%S}" if abs(now - moment) < timedelta(hours=12) else f"{moment:%d %b %H:%M}"


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min" if span >= timedelta(minutes=1) else f"{span.total_seconds():.0f} s"


def _first(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= 120 else f"{line[:119]}…"


def _plain_name(check: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", check.lower())
