"""Riemann: the newest event of each host and service, until its time to live is over; read from its index, over TCP or TLS.

There is no history: what has to be known of a window must be computed by a stream of the server beforehand. A source's
option ``premade`` names such indicators, each with the query for its event and the window that the stream takes::

    [sources.stream]
    kind = "riemann"
    url = "tls://stream.example:5554"
    premade.checkout = { query = 'service = "checkout error ratio"', window = "5m" }
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import numpy as np

from sretoolkit.clock import Clock, format_duration, parse_duration
from sretoolkit.errors import ConfigError, NoData, NotExpressible, QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.http.client import trust
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Kept, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._riemann_query import is_field, literal, of_service
from sretoolkit.metrics.sources._riemann_wire import Malformed, Message, RiemannEvent, TooLong, exchange
from sretoolkit.metrics.states import CheckState, State
from sretoolkit.metrics.windows import frame_of, group_of
from sretoolkit.report import Finding, Report, plain

DEFAULT_TTL = 60.0  # what the server takes for an event that has none
_NOW = timedelta(seconds=5)
_SKEW = timedelta(seconds=30)
_MARKER, _MARKER_HOST = "marker", "sretoolkit"
_STATES: dict[str, State] = {"ok": "ok", "warning": "warning", "critical": "critical"}
_STORE = "ask the store that the server forwards its events to, or let a stream compute it (option premade)"


class Riemann(MetricSource):
    """A Riemann server with an index."""

    own_options = frozenset({"marker_ttl", "premade"})
    schemes = ("tls", "tcp")
    declared = Capabilities(quantile="premade", group_by=False, regex_filter=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        remote = endpoint.remote
        if remote.token or remote.username or remote.proxy or endpoint.cluster:
            hint = "use tls:// with ca, cert and key: the server knows its clients by their certificates alone"
            raise ConfigError(f"the source {self.name}: Riemann has no token, password, proxy or cluster", hint=hint)
        self._trust = trust(remote) if remote.url.startswith("tls://") else None
        self._marker_ttl = parse_duration(str(endpoint.options.get("marker_ttl", "1d")))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The numbers of the indexed events that ``query`` matches; there is no other moment than now."""
        now = self._only_now(at or self.clock.now(), query)
        events = self._search(query)
        live = [event for event in events if not _is_over(event, now)]
        numbered = [(event, float(event.metric)) for event in live if event.metric is not None]
        known = [(event, value) for event, value in numbered if not math.isnan(value)]
        if not known:
            what = f"{len(events)} events, none with a number that still holds" if events else "no event"
            hint = "are service and host right? an event leaves the index when its ttl is over"
            raise NoData(f"{self.name} has {what} for {query}", source=self.name, query=query, hint=hint)
        notes = [
            f"{count} {text}"
            for count, text in (
                (len(events) - len(live), "events are over (ttl) and wait to be removed: left out"),
                (len(live) - len(numbered), "events have no number: left out"),
                (len(numbered) - len(known), "samples are NaN and count as missing"),
            )
            if count
        ]
        known.sort(key=lambda pair: (pair[0].host or "", pair[0].service or ""))
        grid = Grid.at(now)
        return SeriesFrame(
            times=grid.moments,
            values=np.array([[value for _, value in known]], dtype=np.float64),
            labels=[_labels(event) for event, _ in known],
            interval=timedelta(milliseconds=grid.step),
            warnings=notes,
            query=query,
        )

    def native(self, selector: Selector) -> str:
        """The events of the service that the selector's metric names."""
        return of_service(selector.metric, selector)

    def checks(self) -> Sequence[CheckState]:
        """Every indexed event that has a state; "ok", "warning" and "critical" as such, any other word is unknown."""
        now = self.clock.now()
        found = [self._check(event, now) for event in self._search("state != nil") if event.state]
        return sorted(found, key=lambda check: (check.entity, check.check))

    def events(self, window: Window) -> Sequence[Event]:
        """The indexed events tagged "marker"; a marker is there until its time to live is over."""
        found = [self._happened(event) for event in self._search(f"tagged {literal(_MARKER)}")]
        lost = ""
        if window.start < self.clock.now() - self._marker_ttl:
            lost = f"markers leave the index after their ttl (ours after {format_duration(self._marker_ttl)})"
        return Kept(sorted((one for one in found if one.within(window)), key=lambda one: one.start), lost=lost)

    def discover(self) -> Sequence[Entity]:
        """The hosts that the index has events of."""
        services: dict[str, set[str]] = {}
        for event in self._search("true"):
            if event.host and event.host != _MARKER_HOST:
                services.setdefault(event.host, set()).add(event.service or "")
        return [
            Entity(name=host, services=sorted(services[host] - {""}), source=self.name) for host in sorted(services)
        ]

    def health(self) -> Report:
        """Whether it answers queries, whether its clock and ours agree, and whether anybody could read along."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url, "version": self.version()}
        findings = []
        try:
            own = self._search('service =~ "riemann %"')
            facts["own events"] = len(own)
            findings += self._clock_findings(own)
        except QueryError as error:
            remedy = "give riemann.config an (index) and send the events into it"
            findings.append(_finding("high", "index", error.message, remedy))
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        return Report(f"Health of {self.name}", findings, facts=facts)

    def annotate(self, event: Event) -> str:
        """Send an event tagged "marker" that lives for the source's ``marker_ttl`` (a day); its service is the id.

        What the server's streams do with it besides indexing it (forwarding, alerts) cannot be taken back.
        """
        service = f"{_MARKER} {event.start.astimezone(UTC).isoformat()} {event.title}"
        attributes = {"title": event.title, **({"end": event.end.isoformat()} if event.end else {})}
        age = max(timedelta(0), self.clock.now() - event.start)
        sent = RiemannEvent(
            host=_MARKER_HOST,
            service=service,
            description=event.text,
            time=event.start.timestamp(),
            ttl=(age + self._marker_ttl).total_seconds(),
            tags=[_MARKER, *event.tags],
            attributes=attributes,
        )
        self._ask(Message(events=[sent]), service)
        return service

    def retract(self, identifier: str) -> None:
        """Let the marker expire, and see that the index no longer has it."""
        now = self.clock.now().timestamp()
        over = RiemannEvent(host=_MARKER_HOST, service=identifier, state="expired", time=now, tags=[_MARKER])
        self._ask(Message(events=[over]), identifier)
        if self._search(f"host = {literal(_MARKER_HOST)} and service = {literal(identifier)}"):
            hint = "its streams keep expired events from the index: let (index) see them, or wait for the ttl"
            raise SourceError(f"{self.name} still has the marker {identifier!r}", source=self.name, hint=hint)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """What a stream computed beforehand: an indicator in ``premade``, or the event of a ``percentiles`` stream."""
        query, reason, estimated = self._premade(sli) or self._percentile(sli)
        if exact:
            raise self.cannot(f"an exact {sli.kind}", sli.name, reason="there are no raw samples", nearest=_STORE)
        now = self.clock.now()
        moment = datetime.fromtimestamp(grid.last / 1000, UTC)
        if grid.count > 1 or abs(now - moment) > _NOW:
            raise self._past(sli.name)

        def ask() -> SeriesFrame:
            values: dict[tuple[str, ...], Any] = {}
            frame = self.instant(query)
            for labels, value in zip(frame.labels, frame.values[0], strict=True):
                group = group_of(labels, sli.by)
                if group in values:
                    hint = f"tell them apart: by = [...] of {', '.join(sorted(labels))}, or a narrower query"
                    text = f"{self.name} has several events for one value of {sli.name}: {query}"
                    raise QueryError(text, source=self.name, query=query, hint=hint)
                values[group] = np.array([value])
            return frame_of(sli, grid, values, source=self.name, query=query, warnings=frame.warnings)

        return Compiled(query, reason, ask, estimated)

    def _premade(self, sli: SLI) -> tuple[str, str, str] | None:
        given = self.endpoint.options.get("premade", {})
        one = given.get(sli.name) if isinstance(given, Mapping) else None
        if one is None:
            return None
        if not (isinstance(one, Mapping) and isinstance(one.get("query"), str) and isinstance(one.get("window"), str)):
            hint = 'write premade.NAME = { query = \'service = "..."\', window = "5m" }'
            raise ConfigError(f"the source {self.name}: premade.{sli.name} needs query and window", hint=hint)
        if parse_duration(one["window"]) != sli.window:
            reason = f"its stream computes it over {one['window']}, not over {format_duration(sli.window)}"
            raise self.cannot(f"the SLI {sli.name}", sli.name, reason=reason, nearest="ask for that window")
        return one["query"], "the configuration says that a stream of the server computes it", ""

    def _percentile(self, sli: SLI) -> tuple[str, str, str]:
        if sli.kind != "latency_quantile" or sli.metric is None:
            reason = "it keeps the newest event of each service only, so that nothing can be summed over a window"
            raise self.cannot(f"an SLI of kind {sli.kind}", sli.name, reason=reason, nearest=_STORE)
        odd = [m for m in sli.metric.matchers if not is_field(m.label) and (m.label != "tag" or m.is_regex)]
        if odd:
            reason = f"no condition {odd[0]} can be put"
            raise self.cannot(
                f"the SLI {sli.name}", sli.name, reason=reason, nearest="conditions on text fields and tag"
            )
        service = f"{sli.metric.metric} {sli.quantile:g}"
        reason = "a percentiles stream names its events after the service and the point"
        estimated = "over the interval of the server's percentiles stream, which may not be the SLI's window"
        return of_service(service, sli.metric), reason, estimated

    def _only_now(self, moment: datetime, query: str) -> datetime:
        now = self.clock.now()
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if abs(now - moment) > _NOW:
            raise self._past(query)
        return now

    def _past(self, query: str) -> NotExpressible:
        reason = "it keeps the newest event of each host and service only, no history"
        return self.cannot("a moment other than now", query, reason=reason, nearest=_STORE)

    def _search(self, query: str) -> Sequence[RiemannEvent]:
        return self._ask(Message(query=query), query).events

    def _ask(self, message: Message, query: str) -> Message:
        where: dict[str, Any] = {"source": self.name, "query": query}
        try:
            answer = exchange(
                self.endpoint.url,
                message,
                trust=self._trust,
                seconds=self.endpoint.timeout.total_seconds(),
                most_bytes=self.endpoint.remote.most_bytes,
            )
        except (OSError, Malformed, TooLong) as error:
            self._failed(error, where)
        if not answer.ok:
            words = plain(answer.error) or "it refused without a word"
            raise QueryError(f"{self.name}: {words}", **where, hint=f"mend the query: {query}")
        return answer

    def _failed(self, error: Exception, where: Mapping[str, Any]) -> NoReturn:
        """Raise what an exchange that came to no end means."""
        url = f"{self.name} ({self.endpoint.url})" if self.endpoint.url not in self.name else self.name
        if isinstance(error, TooLong):
            hint = "ask for fewer events; or raise most_bytes of the source"
            raise TooCostly(f"{url} announces {error}", **where, hint=hint) from error
        if isinstance(error, ssl.SSLCertVerificationError):
            hint = "set ca to the file of the authority that signed it"
            raise SourceError(f"{url} cannot be trusted: {plain(error.verify_message)}", **where, hint=hint) from error
        if isinstance(error, ssl.SSLError):
            hint = "does it speak TLS there (5554), and does it want a client certificate (cert, key)?"
            raise SourceError(f"{url}: TLS failed: {plain(error.reason)}", **where, hint=hint) from error
        if isinstance(error, Malformed):
            hint = "does url lead to Riemann's TCP port (5555), or is it the TLS one (tls://...:5554)?"
            raise SourceUnavailable(f"{url} does not speak as Riemann does: {error}", **where, hint=hint) from error
        if isinstance(error, TimeoutError):
            seconds = self.endpoint.timeout.total_seconds()
            text, hint = f"did not answer within {seconds:g} s", "ask for less, or raise timeout in the configuration"
            raise SourceUnavailable(f"{url} {text}", **where, hint=hint) from error
        words = plain(getattr(error, "strerror", None) or str(error))
        hint = "is it running, and is the address right? does it want TLS?"
        raise SourceUnavailable(f"{url} cannot be reached: {words}", **where, hint=hint) from error

    def _check(self, event: RiemannEvent, now: datetime) -> CheckState:
        word = event.state or ""
        output = (event.description or "").strip()
        return CheckState(
            entity=event.host or "",
            check=event.service or "",
            state=_STATES.get(word, "unknown"),
            checked_at=_moment(event.time),
            output=output if word in _STATES else f"state {word}: {output}".rstrip(": "),
            stale=_is_over(event, now),
            labels=dict(event.attributes),
            source=self.name,
        )

    def _happened(self, event: RiemannEvent) -> Event:
        end = event.attributes.get("end", "")
        return Event(
            start=_moment(event.time) or self.clock.now(),
            end=_iso(end),
            title=event.attributes.get("title") or event.service or _MARKER,
            text=event.description or "",
            tags=[tag for tag in event.tags if tag != _MARKER],
            source=self.name,
            id=event.service or "" if event.host == _MARKER_HOST else "",
        )

    def _clock_findings(self, own: Iterable[RiemannEvent]) -> list[Finding]:
        times = [moment for event in own if (moment := _moment(event.time))]
        skew = max(times) - self.clock.now() if times else timedelta(0)
        if abs(skew) <= _SKEW:
            return []
        word = "ahead of" if skew > timedelta(0) else "behind"
        summary = f"its newest event of its own is {abs(skew).total_seconds():.0f} s {word} our clock"
        return [_finding("medium", "clock", summary, "compare both clocks with a time server; do its streams stand?")]


def _labels(event: RiemannEvent) -> dict[str, str]:
    named = {"host": event.host, "service": event.service}
    return {**event.attributes, **{key: value for key, value in named.items() if value}}


def _is_over(event: RiemannEvent, now: datetime) -> bool:
    return event.time is not None and now.timestamp() - event.time > (
        event.ttl if event.ttl is not None else DEFAULT_TTL
    )


def _moment(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _finding(severity: Any, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
