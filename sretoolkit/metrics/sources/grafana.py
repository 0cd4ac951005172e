"""Grafana: any of its data sources, its annotations, alert rules and silences.

A query is put to the data source that the option ``datasource`` names (its uid or name; else the default one): PromQL
for a Prometheus, a target for a Graphite; for any other kind the query's model as JSON, as Grafana's own pages send it.
Indicators are compiled by the plug-in for that kind of system, which then asks through Grafana's proxy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import quote

from sretoolkit.clock import Clock
from sretoolkit.errors import HTTPError, QueryError, SourceError, SourceUnavailable
from sretoolkit.http.client import Answer as Response
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.events import Event, Kept, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import SOURCES, Capabilities, MetricSource
from sretoolkit.metrics.sources._grafana_alerts import listed, moment, own_labels, section, silenced, states
from sretoolkit.metrics.sources._grafana_frames import Answer, Malformed, series
from sretoolkit.metrics.states import CheckState
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import Finding, Report, plain

# kinds of data source that a plug-in of ours knows how to speak to, through Grafana's proxy
SPOKEN = {
    "prometheus": "prometheus",
    "grafana-amazonprometheus-datasource": "prometheus",
    "grafana-azureprometheus-datasource": "prometheus",
    "victoriametrics-metrics-datasource": "prometheus",
    "graphite": "graphite",
}
_LIMITS = (1_000, 10_000, 100_000)  # of annotations; Grafana's own default is 100
_LOOKBACK = timedelta(minutes=5)
_ALERTS, _RULES = "/api/alertmanager/grafana/api/v2", "/api/prometheus/grafana/api/v1"


@dataclass(frozen=True)
class DataSource:
    """One of Grafana's data sources."""

    uid: str
    kind: str
    name: str = ""


class Grafana(MetricSource):
    """The HTTP API of a Grafana 9 or later."""

    own_options = frozenset({"datasource", "datasource_type", "datasource_options", "org"})
    declared = Capabilities(history=True, quantile="bucketed", group_by=True, regex_filter=True, server_window=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        org = endpoint.options.get("org")
        headers = {**endpoint.remote.headers, **({"X-Grafana-Org-Id": str(org)} if org else {})}
        self._endpoint = replace(endpoint, remote=replace(endpoint.remote, headers=headers))
        self._wire = Wire(self._endpoint, product="Grafana", said=_said, clock=self.clock)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """What the data source answers for the window; its own moments, which are not always those that were asked."""
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        self.afford(grid.count, query)
        return self._query(query, grid.first, grid.last, grid.step, grid.count).frame(grid)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """A Prometheus' value at one moment; of other kinds the newest of the five minutes before."""
        grid = Grid.at(at or self.clock.now())
        step = _LOOKBACK // timedelta(milliseconds=1)
        return self._query(query, grid.first - step, grid.last, step // 60, 1).newest(grid)

    def checks(self) -> Sequence[CheckState]:
        """Every instance of every alert rule; what is silenced counts as in a downtime."""
        rules = self._wire.json("GET", f"{_RULES}/rules")
        alerts = self._wire.json("GET", f"{_ALERTS}/alerts")
        if not isinstance(rules, dict) or rules.get("status") != "success" or not isinstance(alerts, list):
            words = plain(rules.get("error")) if isinstance(rules, dict) and rules.get("error") else "no alert rules"
            hint = "is unified alerting on (Grafana 9 and later), and may the login read alert rules?"
            raise SourceUnavailable(f"{self.name} answers: {words}", source=self.name, hint=hint)
        groups = listed(section(rules, "data").get("groups"))
        found = states(groups, silenced(listed(alerts)), self.clock.now(), self.name)
        return sorted(found, key=lambda check: (check.entity, check.check, sorted(check.labels.items())))

    def events(self, window: Window) -> Sequence[Event]:
        """The annotations, alerts' own ones included; ``.lost`` says when there are too many."""
        found: list[Mapping[str, Any]] = []
        bounds = {name: int(at.timestamp() * 1000) for name, at in zip(("from", "to"), window, strict=True)}
        for limit in _LIMITS:
            answer = self._wire.ask("GET", "/api/annotations", params={**bounds, "limit": limit})
            found = self._annotations(answer)
            if len(found) < limit:
                break
        lost = f"there are more than {_LIMITS[-1]:,} annotations: the oldest are left out"
        events = [event for event in map(self._event, found) if event.within(window)]
        return Kept(sorted(events, key=lambda one: one.start), lost=lost if len(found) >= _LIMITS[-1] else "")

    def annotate(self, event: Event) -> str:
        """Write an annotation of the organisation, which every dashboard can show."""
        body: dict[str, Any] = {
            "time": _milliseconds(event.start),
            "tags": list(event.tags),
            "text": f"{event.title}\n{event.text}" if event.text else event.title,
        }
        if event.end:
            body["timeEnd"] = _milliseconds(event.end)
        answer = self._wire.json("POST", "/api/annotations", query=event.title, json=body)
        return str(self._told(answer, "id", event.title))

    def retract(self, identifier: str) -> None:
        """Delete the annotation."""
        self._delete(f"/api/annotations/{quote(identifier, safe='')}", identifier)

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """Silence exactly the alert with these labels."""
        labels = {"alertname": check.check, **own_labels(check.labels)}
        if not check.labels and check.entity:
            labels["instance"] = check.entity
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in sorted(labels.items())
            ],
            "startsAt": window.start.astimezone(UTC).isoformat(),
            "endsAt": window.end.astimezone(UTC).isoformat(),
            "createdBy": "sretoolkit",
            "comment": comment,
        }
        answer = self._wire.json("POST", f"{_ALERTS}/silences", query=check.check, json=body)
        given = answer if isinstance(answer, dict) else {}
        return str(self._told(given, "silenceID" if "silenceID" in given else "id", check.check))

    def unsilence(self, identifier: str) -> None:
        """Let the silence expire; one that is over cannot be ended and is left."""
        path = f"{_ALERTS}/silence/{quote(identifier, safe='')}"
        found = self._sent("GET", path, identifier)
        if found is not None and section(_body(found), "status").get("state") != "expired":
            self._delete(path, identifier)

    def version(self) -> str:
        """As ``/api/health`` tells; a Grafana may hide it."""
        try:
            told = self._wire.json("GET", "/api/health")
        except SourceError:
            return "unknown"
        return str(told.get("version") or "unknown") if isinstance(told, dict) else "unknown"

    def health(self) -> Report:
        """Version, its database, the login, and whether the data source answers Grafana."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url}
        findings: list[Finding] = []
        try:
            told = self._wire.json("GET", "/api/health")
            told = told if isinstance(told, dict) else {}
            facts["version"] = str(told.get("version") or "unknown")
            if told.get("database") != "ok":
                summary = f"its database is {plain(told.get('database') or 'not mentioned')}"
                findings.append(_finding("high", "database", summary, "look at Grafana's log"))
            facts["data source"] = f"{self._target.name or self._target.uid} ({self._target.kind})"
            findings += self._target_health()
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        if self.endpoint.remote.in_clear:
            summary = "the login crosses the network unencrypted (http)"
            findings.append(_finding("medium", self.name, summary, "use https"))
        return Report(f"Health of {self.name}", findings, facts=facts)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """As the plug-in for the data source's kind of system has it, asked through Grafana's proxy."""
        with self._behind(f"the SLI {sli.name}", sli.name) as plug_in:
            compiled = plug_in.sli(sli.on_source(plug_in), grid, exact=exact)

        def ask() -> SeriesFrame:
            with self._behind(f"the SLI {sli.name}", sli.name) as plug_in:
                return plug_in.sli(sli.on_source(plug_in), grid, exact=exact).ask()

        target = self._target
        reason = f"through Grafana's {target.kind} {target.name or target.uid}: {compiled.reason}"
        return Compiled(compiled.native, reason, ask, compiled.estimated)

    def native(self, selector: Selector) -> str:
        """As the plug-in for the data source's kind of system writes it."""
        with self._behind(f"the selector {selector}", str(selector)) as plug_in:
            return plug_in.native(selector)

    def _behind(self, what: str, query: str) -> MetricSource:
        """The plug-in for the data source's kind of system, speaking to it through Grafana's proxy."""
        target = self._target
        kind = SPOKEN.get(target.kind)
        if kind is None:
            reason = f"no plug-in knows how to ask a data source of the kind {target.kind}"
            known = ", ".join(sorted(set(SPOKEN.values())))
            nearest = f"name another data source (of {known}), or configure that system as a source of its own"
            raise self.cannot(what, query, reason=reason, nearest=nearest)
        remote, options = self._endpoint.remote, dict(self.endpoint.options.get("datasource_options", {}))
        url = f"{remote.url.rstrip('/')}/api/datasources/proxy/uid/{quote(target.uid, safe='')}"
        endpoint = replace(self._endpoint, kind=kind, options=options, remote=replace(remote, url=url))
        return SOURCES[kind](endpoint, clock=self.clock)

    @cached_property
    def _target(self) -> DataSource:
        """The data source that is asked; raises `SourceError` when there is no such one."""
        wanted, kind = (str(self.endpoint.options.get(name, "")) for name in ("datasource", "datasource_type"))
        if wanted and kind:
            return DataSource(wanted, kind)
        if not wanted:
            found = listed(self._wire.json("GET", "/api/datasources"))
            given = next((one for one in found if one.get("isDefault")), None)
            hint = "name one with the option datasource: " + ", ".join(plain(one.get("name")) for one in found)
        else:
            by_uid = self._sent("GET", f"/api/datasources/uid/{quote(wanted, safe='')}", wanted)
            by_name = by_uid or self._sent("GET", f"/api/datasources/name/{quote(wanted, safe='')}", wanted)
            given = _body(by_name) if by_name else None
            hint = "give its uid or its name, as its page in Grafana shows them"
        if not given or not given.get("uid"):
            what = f"no data source {wanted!r}" if wanted else "no default data source"
            raise SourceError(f"{self.name} has {what}", source=self.name, hint=hint)
        return DataSource(str(given["uid"]), str(given.get("type") or ""), str(given.get("name") or ""))

    def _target_health(self) -> list[Finding]:
        target = self._target
        try:
            told = self._wire.json("GET", f"/api/datasources/uid/{quote(target.uid, safe='')}/health")
        except SourceError as error:
            summary = f"Grafana's check of the data source failed: {error.message}"
            return [_finding("medium", target.name or target.uid, summary, "look at its page in Grafana")]
        if isinstance(told, dict) and told.get("status") == "OK":
            return []
        summary = plain(told.get("message") if isinstance(told, dict) else told)
        return [_finding("high", target.name or target.uid, f"it does not answer Grafana: {summary}", "is it up?")]

    def _query(self, query: str, start: int, end: int, step: int, count: int) -> Answer:
        target = self._target
        source = {"uid": target.uid, "type": target.kind}
        model = self._model(query, step, at_once=count == 1)
        asked = {**model, "refId": "A", "datasource": source, "intervalMs": step, "maxDataPoints": count}
        body = {"queries": [asked], "from": str(start), "to": str(end)}
        response = self._wire.ask("POST", "/api/ds/query", query=query, json=body, repeatable=True)
        result = section(section(_body(response), "results"), "A")
        if not result:
            self._wire.foreign(response, query)
        if result.get("error"):
            self._failed(result, query)
        frames = result.get("frames") or []
        notices = [str(notice.get("text")) for frame in listed(frames) for notice in _notices(frame)]
        try:
            found, undefined = series(frames if isinstance(frames, list) else [frames])
        except Malformed as error:
            hint = "does this kind of data source give time series for that query (format time_series)?"
            text = f"{self.name} answers with no series: {error}"
            raise SourceUnavailable(text, source=self.name, query=query, hint=hint) from error
        return Answer(self.name, query, found, undefined, notices)

    def _model(self, query: str, step: int, *, at_once: bool) -> dict[str, Any]:
        """The query as the data source's kind reads it."""
        try:
            model = json.loads(query)
        except (ValueError, RecursionError):
            model = None
        if isinstance(model, dict):
            return model
        spoken = SPOKEN.get(self._target.kind)
        if spoken == "prometheus":
            return {"expr": query, "range": not at_once, "instant": at_once, "interval": f"{step}ms"}
        if spoken == "graphite":
            return {"target": query}
        hint = "copy the query's JSON from its page in Grafana (Query inspector, Query)"
        text = f"{self.name}: for a data source of the kind {self._target.kind} the query must be its model as JSON"
        raise QueryError(text, source=self.name, query=query, hint=hint)

    def _failed(self, result: Mapping[str, Any], query: str) -> NoReturn:
        status, words = result.get("status"), plain(result.get("error"))
        if isinstance(status, int) and status >= 500:
            hint = "try again; is the data source up? see its page in Grafana"
            raise SourceUnavailable(f"{self.name}: {words}", source=self.name, query=query, hint=hint)
        raise QueryError(f"{self.name}: {words}", source=self.name, query=query, hint=f"mend the query: {query}")

    def _annotations(self, answer: Response) -> list[Mapping[str, Any]]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, list):
            self._wire.foreign(answer)
        return listed(found)

    def _event(self, given: Mapping[str, Any]) -> Event:
        start, end = (_moment(given.get(name)) for name in ("time", "timeEnd"))
        title, _, text = str(given.get("text") or "").strip().partition("\n")
        change = f"{given.get('prevState')} to {given.get('newState')}" if given.get("newState") else ""
        return Event(
            start=start or datetime.fromtimestamp(0, UTC),
            end=end if end and start and end > start else None,
            title=title or str(given.get("alertName") or change or "annotation"),
            text=text,
            tags=[str(tag) for tag in given.get("tags") or ()],
            source=self.name,
            id=str(given.get("id") or ""),
        )

    def _sent(self, method: str, path: str, query: str) -> Response | None:
        """A good answer; None when there is no such thing (a 404 of Grafana's own)."""
        try:
            answer = self._wire.http.send(method, path)
        except HTTPError as error:
            self._wire.failed(error, query)
        if answer.status == 404 and _said(answer):
            return None
        if not answer.ok:
            self._wire.refused(answer, query)
        return answer

    def _delete(self, path: str, identifier: str) -> None:
        self._sent("DELETE", path, identifier)

    def _told(self, answer: Any, name: str, query: str) -> Any:
        if not isinstance(answer, dict) or not answer.get(name):
            hint = "look in Grafana whether it was made"
            raise SourceUnavailable(f"{self.name} gives no id", source=self.name, query=query, hint=hint)
        return answer[name]


def _said(answer: Response) -> str:
    """Grafana's own words, or those of the first query that failed."""
    body = _body(answer)
    errors = [
        str(one["error"]) for one in section(body, "results").values() if isinstance(one, dict) and "error" in one
    ]
    words = body.get("message") or body.get("error") or next(iter(errors), "")
    return words if isinstance(words, str) else ""


def _body(answer: Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _notices(frame: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return listed(section(section(frame, "schema"), "meta").get("notices"))


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _moment(milliseconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (TypeError, ValueError, OverflowError, OSError):
        return moment(milliseconds)


def _finding(severity: Any, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
