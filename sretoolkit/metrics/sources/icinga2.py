"""Icinga 2, by its REST API. It keeps the last result of each check and no history.

Own options: ``filter``, an Icinga filter of hosts (``host.vars.env == "prod"``) that bounds what is seen; ``marker``, the
host (``h1``) or service (``h1!api``) that gets the deploy markers whose event has no tag ``host:NAME``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError, NoData, NotExpressible, QueryError, SourceError
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources import _perfdata
from sretoolkit.metrics.sources._icinga2_api import API, Result, moment
from sretoolkit.metrics.states import CheckState, State, perfdata
from sretoolkit.report import Finding, Report, Severity, plain

AUTHOR = "sretoolkit"
_GRACE, _SKEW = timedelta(minutes=1), timedelta(seconds=5)
_SERVICE: dict[int, State] = {0: "ok", 1: "warning", 2: "critical", 3: "unknown"}
_STREAM = ("StateChange", "AcknowledgementSet", "AcknowledgementCleared", "DowntimeStarted", "DowntimeRemoved")
_ATTRS = (
    "name", "state", "state_type", "last_check", "last_state_change", "last_check_result", "acknowledgement",
    "downtime_depth", "last_reachable", "check_interval", "retry_interval", "enable_active_checks",
)  # fmt: skip
_NEAREST = (
    "the store that its GraphiteWriter, InfluxdbWriter or ElasticsearchWriter fills; here: instant(), the last number"
)
_REASON = "it keeps the last result of each check, and no history of values or states"


class Icinga2(MetricSource):
    """An Icinga 2 master or satellite with the api feature."""

    own_options: ClassVar[frozenset[str]] = frozenset({"filter", "marker"})

    declared = Capabilities()

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self._api = API(self)
        self._filter = str(endpoint.options.get("filter", ""))
        self._marker = str(endpoint.options.get("marker", ""))

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def cannot(self, what: str, query: str = "", *, reason: str = "", nearest: str = "") -> NotExpressible:
        """As of every source; for what needs history, where that history is."""
        if what in ("range", "sli"):
            reason, nearest = reason or _REASON, nearest or _NEAREST
        return super().cannot(what, query, reason=reason, nearest=nearest)

    def version(self) -> str:
        """As the API says it, without the package's revision."""
        try:
            return str(self._api.about().get("version", "unknown")).removeprefix("r").partition("-")[0]
        except SourceError:
            return "unknown"

    def checks(self) -> Sequence[CheckState]:
        """Every host (``check`` is "") and service; a host behind a dead one is unknown, labelled ``unreachable``."""
        hosts = self._api.objects("hosts", _ATTRS, where=self._filter)
        services = self._api.objects("services", (*_ATTRS, "host_name"), where=self._filter)
        return [self._state(one) for one in (*hosts, *services)]

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The numbers that checks gave last, as ``latency{host="h1", service="api"}`` or ``perfdata{host="h1"}``."""
        selector = _perfdata.selected(self, query)
        grid = _perfdata.only_now(self, query, at, nearest=_NEAREST)
        host, service = (_perfdata.exactly(selector, label) for label in ("host", "service"))
        checks = [] if service else [self._state(one) for one in self._selected("hosts", query, host, None)]
        checks += [self._state(one) for one in self._selected("services", query, host, service)]
        return _perfdata.frame(self, query, selector, grid, checks)

    def events(self, window: Window) -> Sequence[Event]:
        """Comments and downtimes that still exist, and each check's last change of state; `follow` hears the rest."""
        found = [*self._comments(), *self._downtimes(), *self._changes()]
        return sorted((one for one in found if one.within(window)), key=lambda one: (one.start, one.title))

    def follow(self, seconds: float) -> Iterator[Event]:
        """Changes of state, acknowledgements and downtimes, for so many seconds; the server tells up to 5 s late."""
        for line in self._api.stream(_STREAM, seconds):
            try:
                one = json.loads(line)
            except ValueError:
                continue
            if isinstance(one, dict) and (event := self._heard(one)):
                yield event

    def discover(self) -> Sequence[Entity]:
        """All hosts with address, groups, services and those variables that are texts or numbers."""
        hosts = self._api.objects("hosts", ("name", "address", "address6", "groups", "vars"), where=self._filter)
        services: dict[str, list[str]] = {}
        for one in self._api.objects("services", ("name", "host_name"), where=self._filter):
            services.setdefault(one["host_name"], []).append(one["name"])
        return [
            Entity(
                name=one["name"],
                address=one.get("address") or one.get("address6") or "",
                groups=sorted(one.get("groups") or ()),
                labels={k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in _simple(one.get("vars"))},
                services=sorted(services.get(one["name"], ())),
                source=self.name,
            )
            for one in sorted(hosts, key=lambda one: str(one["name"]))
        ]

    def health(self) -> Report:
        """Version, what is switched off, its clock, and permissions that this login lacks."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url}
        findings: list[Finding] = []
        try:
            about = self._api.about()
            facts["version"] = str(about.get("version", "unknown")).removeprefix("r").partition("-")[0]
            facts["user"] = str(about.get("user", "unknown"))
            self._api.objects("hosts", ("name",), where=f"({self._filter or 'true'}) && false")
            self._api.objects("services", ("name",), where=f"({self._filter or 'true'}) && false")
            findings += self._troubles()
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        if self.endpoint.remote.in_clear:
            findings.append(_finding("medium", self.name, "the login crosses the network unencrypted", "use https"))
        return Report(f"Health of {self.name}", findings, facts=facts)

    def annotate(self, event: Event) -> str:
        """A comment on the host (or service) that the event's tags ``host:NAME``, ``service:NAME`` or ``marker`` name."""
        lines = (f"{event.start.isoformat()} {event.title}", event.text, f"tags: {json.dumps(list(event.tags))}")
        text = "\n".join(filter(None, lines))
        made = self._api.act("add-comment", **self._marked(event), author=AUTHOR, comment=text)
        return str(made["name"])

    def retract(self, identifier: str) -> None:
        """Remove the comment."""
        self._removed("comment", identifier)

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """Sticky, until it recovers, without telling the contacts; raises `QueryError` when there is no problem."""
        self._api.act(
            "acknowledge-problem", **_target(check), author=AUTHOR, comment=comment, sticky=True, notify=False
        )

    def unacknowledge(self, check: CheckState) -> None:
        """Remove the acknowledgement."""
        self._api.act("remove-acknowledgement", **_target(check), author=AUTHOR)

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """A fixed downtime."""
        start, end = window.start.timestamp(), window.end.timestamp()
        if end <= self.clock.now().timestamp() or end <= start:
            text = f"{self.name}: a downtime of {plain(check.entity)}/{plain(check.check)} would be over already"
            raise QueryError(text, source=self.name, hint="give a window that ends later")
        when = {"start_time": start, "end_time": end, "fixed": True}
        made = self._api.act("schedule-downtime", **_target(check), author=AUTHOR, comment=comment, **when)
        return str(made["name"])

    def unsilence(self, identifier: str) -> None:
        """Remove the downtime."""
        self._removed("downtime", identifier)

    def _removed(self, kind: str, identifier: str) -> None:
        try:
            self._api.act(f"remove-{kind}", **{kind: identifier}, author=AUTHOR)
        except NoData:
            if self._api.there(f"{kind}s", identifier):
                raise

    def _selected(self, kind: str, query: str, host: str | None, service: str | None) -> list[Result]:
        given = {"host": host, "service": service}
        names = {f"wanted_{label}": value for label, value in given.items() if value is not None}
        parts = [f"({self._filter})"] if self._filter else []
        parts += [f"{label}.name == wanted_{label}" for label, value in given.items() if value is not None]
        attrs = _ATTRS if kind == "hosts" else (*_ATTRS, "host_name")
        return self._api.objects(kind, attrs, where=" && ".join(parts), names=names, asked=query)

    def _state(self, one: Result) -> CheckState:
        host = "host_name" not in one
        result = one.get("last_check_result") or {}
        unreachable = bool(result) and one.get("last_reachable") is False
        return CheckState(
            entity=one["name"] if host else one["host_name"],
            check="" if host else one["name"],
            state=_state_of(one, host, unreachable),
            hard=one.get("state_type") == 1,
            since=moment(one.get("last_state_change")) if result else None,
            checked_at=moment(one.get("last_check")),
            output=str(result.get("output", "")),
            perfdata=perfdata(" ".join(_texts(result.get("performance_data")))),
            acknowledged=bool(one.get("acknowledgement")),
            in_downtime=bool(one.get("downtime_depth")),
            stale=self._is_stale(one, result),
            labels={"unreachable": "true"} if unreachable else {},
            id=one["name"] if host else f"{one['host_name']}!{one['name']}",
            source=self.name,
        )

    def _is_stale(self, one: Result, result: Mapping[str, Any]) -> bool:
        """Not looked at when it should have been; of a passive check only its own time to live tells."""
        checked = moment(one.get("last_check"))
        if checked is None:
            return False
        age = self.clock.now() - checked
        if result.get("ttl"):
            return age > timedelta(seconds=result["ttl"])
        soft = one.get("state_type") == 0 and one.get("state")
        interval = timedelta(seconds=one.get("retry_interval" if soft else "check_interval") or 0)
        return bool(one.get("enable_active_checks")) and age > interval + max(interval, _GRACE)

    def _comments(self) -> Iterator[Event]:
        attrs = ("__name", "host_name", "service_name", "author", "text", "entry_time", "entry_type")
        for one in self._api.objects("comments", attrs, where=self._filter):
            if one.get("entry_type") in (2, 3):
                continue  # the core's own words about downtimes and flapping
            start = moment(one.get("entry_time"))
            if start is None:
                continue
            event = Event(
                start=start, title=f"comment on {_where(one)}", text=f"{one.get('author')}: {one.get('text')}",
                tags=["comment"], source=self.name, id=one["__name"],
            )  # fmt: skip
            yield _own(event, str(one.get("text", ""))) if one.get("author") == AUTHOR else event

    def _downtimes(self) -> Iterator[Event]:
        attrs = ("__name", "host_name", "service_name", "author", "comment", "start_time", "end_time")
        for one in self._api.objects("downtimes", attrs, where=self._filter):
            if start := moment(one.get("start_time")):
                yield Event(
                    start=start, end=moment(one.get("end_time")), title=f"downtime of {_where(one)}",
                    text=f"{one.get('author')}: {one.get('comment')}", tags=["downtime"], source=self.name,
                    id=one["__name"],
                )  # fmt: skip

    def _changes(self) -> Iterator[Event]:
        for check in self.checks():
            if check.since:
                word = f"{check.state} ({'hard' if check.hard else 'soft'})"
                where = f"{check.entity}/{check.check}" if check.check else check.entity
                tags = ["state", check.state]
                yield Event(start=check.since, title=f"{where} {word}", text=check.output, tags=tags, source=self.name)

    def _heard(self, one: Mapping[str, Any]) -> Event | None:
        start, kind = moment(one.get("timestamp")), str(one.get("type"))
        inner = one.get("downtime") if isinstance(one.get("downtime"), dict) else {}
        where = _where({"host_name": one.get("host"), "service_name": one.get("service"), **(inner or {})})
        if start is None:
            return None
        if kind == "StateChange":
            said = {"last_check_result": one.get("check_result") or {}, **one}
            state = _state_of(said, not one.get("service"), unreachable=False)
            word = f"{state} ({'hard' if one.get('state_type') == 1 else 'soft'})"
            text = str((one.get("check_result") or {}).get("output", ""))
            return Event(start=start, title=f"{where} {word}", text=text, tags=["state", state], source=self.name)
        words = "".join(f" {char.lower()}" if char.isupper() else char for char in kind).strip()
        text = str(one.get("comment") or (inner or {}).get("comment", ""))
        return Event(start=start, title=f"{words}: {where}", text=text, tags=[words.split()[0]], source=self.name)

    def _troubles(self) -> Iterator[Finding]:
        try:
            app = self._api.status("IcingaApplication").get("icingaapplication", {}).get("app", {})
            uptime = self._api.status("CIB").get("uptime")
        except SourceError as error:
            yield _finding("info", "status", f"it does not tell about itself: {error.message}", error.hint)
            return
        for name, what in (
            ("enable_host_checks", "it checks no hosts"),
            ("enable_service_checks", "it checks no services"),
            ("enable_notifications", "it notifies nobody"),
        ):
            if app.get(name) is False:
                yield _finding(
                    "medium", name, f"{what}: {name} is off", "switch it on again in the IcingaApplication object"
                )
        if started := moment(app.get("program_start")):
            skew = (started - self.clock.now()).total_seconds() + (uptime or 0)
            if uptime and abs(skew) > _SKEW.total_seconds():
                yield _finding(
                    "medium", "clock", f"its clock differs from ours by {skew:+.0f} s", "compare with a time server"
                )

    def _marked(self, event: Event) -> dict[str, str]:
        tags = dict(tag.split(":", 1) for tag in event.tags if ":" in tag)
        host, service = tags.get("host", ""), tags.get("service", "")
        if not host:
            host, _, service = self._marker.partition("!")
        if not host:
            hint = 'tag the event host:NAME (and service:NAME), or set marker = "h1" or "h1!api" for the source'
            raise ConfigError(f"{self.name}: a comment needs a host or service, and the event names none", hint=hint)
        return {"type": "Service", "service": f"{host}!{service}"} if service else {"type": "Host", "host": host}


def _target(check: CheckState) -> dict[str, str]:
    if check.check:
        return {"type": "Service", "service": f"{check.entity}!{check.check}"}
    return {"type": "Host", "host": check.entity}


def _state_of(one: Mapping[str, Any], host: bool, unreachable: bool) -> State:
    """A passive result's ``exit_status`` stays 0: ``state`` is what counts."""
    if not one.get("last_check_result"):
        return "pending"
    if not host:
        return _SERVICE.get(int(one.get("state", 3)), "unknown")
    if one.get("state") == 0:
        return "ok"
    return "unknown" if unreachable else "critical"


def _own(event: Event, text: str) -> Event:
    """A marker of ours, at the moment that it is of, with its tags."""
    first, _, rest = text.partition("\n")
    at, _, title = first.partition(" ")
    body, _, tags = rest.rpartition("tags: ")
    try:
        return replace(event, start=datetime.fromisoformat(at), title=title, text=body.strip(), tags=json.loads(tags))
    except (ValueError, TypeError):
        return event


def _where(one: Mapping[str, Any]) -> str:
    return "/".join(str(part) for part in (one.get("host_name"), one.get("service_name")) if part)


def _texts(numbers: Any) -> Iterator[str]:
    """Performance data: texts, or objects with their parts where the core has read them already."""
    for one in numbers or ():
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict) and "value" in one:
            label = str(one.get("label", "")).replace("'", "''")
            counter = "c" if one.get("counter") else one.get("unit", "")
            parts = [
                one["value"],
                *(("" if one.get(key) is None else one[key]) for key in ("warn", "crit", "min", "max")),
            ]
            yield f"'{label}'={parts[0]}{counter};" + ";".join(str(part) for part in parts[1:])


def _simple(given: Any) -> Iterator[tuple[str, Any]]:
    for key, value in (given or {}).items():
        if isinstance(value, str | float | int | bool):
            yield key, value


def _finding(severity: Severity, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
