"""Nagios Core 4, by its JSON CGIs (statusjson, objectjson, archivejson) and its command form.

``url`` is where its pages are, as ``https://host/nagios``; the CGIs lie below in ``cgi-bin``. It keeps the last result of
each check, and a log of states: no values of the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sretoolkit.clock import Clock
from sretoolkit.errors import NoData, SourceError, TooCostly
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources import _perfdata
from sretoolkit.metrics.sources._nagios_cgi import CGI, Reply, moment
from sretoolkit.metrics.sources._nagios_commands import Commands
from sretoolkit.metrics.states import CheckState, State, perfdata
from sretoolkit.metrics.windows import frame_of, group_of
from sretoolkit.report import Finding, Report, Severity

SILENT = timedelta(minutes=2)
MOST_WINDOWS = 100  # each is a reading of the whole log by a CGI
_GRACE = timedelta(minutes=1)
_PAGE = 1000
_SKEW = timedelta(seconds=5)
_STATES: dict[str, State] = {
    "up": "ok", "down": "critical", "unreachable": "unknown", "ok": "ok", "warning": "warning",
    "critical": "critical", "unknown": "unknown", "pending": "pending",
}  # fmt: skip
_KNOWN = ("ok", "warning", "critical", "unknown", "up", "down", "unreachable")
_NEAREST = "availability of a check; instant(), the last number; or the store that its performance data is sent to"


class Nagios(MetricSource):
    """A Nagios Core 4. The login is a web user; what it may see and command is in ``cgi.cfg``."""

    declared = Capabilities(regex_filter=False)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self._cgi = CGI(self)
        self._commands = Commands(self._cgi)

    def close(self) -> None:
        """Close the connections."""
        self._cgi.close()

    def version(self) -> str:
        """As the core says it."""
        try:
            return str(self._cgi.read("statusjson", "programstatus").data["programstatus"]["version"])
        except (SourceError, LookupError):
            return "unknown"

    def checks(self) -> Sequence[CheckState]:
        """Every host (``check`` is "") and service; a host behind a dead one is unknown, labelled ``unreachable``."""
        reply = self._cgi.read("statusjson", "hostlist", details="true")
        hosts = [self._state(reply, one) for one in (reply.data.get("hostlist") or {}).values()]
        reply = self._cgi.read("statusjson", "servicelist", details="true")
        listed = reply.data.get("servicelist") or {}
        services = [self._state(reply, one) for of_host in listed.values() for one in of_host.values()]
        if not hosts and not services:
            raise self._sees_nothing()
        return [*hosts, *services]

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The numbers that checks gave last, as ``latency{host="h1", service="api"}`` or ``perfdata{host="h1"}``."""
        selector = _perfdata.selected(self, query)
        grid = _perfdata.only_now(self, query, at, nearest=_NEAREST)
        given = {"hostname": _perfdata.exactly(selector, "host"), "servicedescription": None}
        if given["hostname"]:
            given["servicedescription"] = _perfdata.exactly(selector, "service")
        asked = {name: value for name, value in given.items() if value}
        reply = self._cgi.read("statusjson", "servicelist", asked=query, details="true", **asked)
        of_hosts = reply.data.get("servicelist") or {}
        checks = [self._state(reply, one) for of_host in of_hosts.values() for one in of_host.values()]
        if not given["servicedescription"]:
            asked = {name: value for name, value in asked.items() if name == "hostname"}
            reply = self._cgi.read("statusjson", "hostlist", asked=query, details="true", **asked)
            checks += [self._state(reply, one) for one in (reply.data.get("hostlist") or {}).values()]
        return _perfdata.frame(self, query, selector, grid, checks)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """Availability from the log of states; nothing else: no values are kept."""
        if sli.kind != "availability" or not sli.entity:
            raise _perfdata.no_history(self, f"{sli.kind} over a window", nearest=_NEAREST)
        labels = {"host": sli.entity, "service": sli.check}
        if unknown := set(sli.by) - set(labels):
            raise self.cannot(
                f"by {min(unknown)}", sli.name, reason="a check has no such label", nearest="host, service"
            )
        if grid.count > MOST_WINDOWS:
            text = f"{self.name}: {grid.count} windows, and each is read from the log anew (at most {MOST_WINDOWS})"
            raise TooCostly(text, source=self.name, query=sli.name, hint="ask for a longer step or a shorter window")
        asked = [self._asked(sli, int(at)) for at in grid.moments]
        native = "\n".join("archivejson.cgi?" + "&".join(f"{k}={v}" for k, v in one.items()) for one in asked)
        reason = (
            "the log of states knows how long each lasted; only hard (confirmed) states count, as in Nagios' own reports; "
            "only ok (a host: up) is available; time without a known state is neither, and left out"
        )
        return Compiled(native, reason, lambda: self._availability(sli, grid, asked))

    def events(self, window: Window) -> Sequence[Event]:
        """State changes from the log, and the downtimes and comments that still exist."""
        found = [*self._alerts(window), *self._downtimes(), *self._comments()]
        return sorted((one for one in found if one.within(window)), key=lambda one: (one.start, one.title))

    def discover(self) -> Sequence[Entity]:
        """All hosts with address, groups, services and custom variables."""
        listed = self._cgi.read("objectjson", "hostlist", details="true").data.get("hostlist") or {}
        grouped = self._cgi.read("objectjson", "hostgrouplist", details="true").data.get("hostgrouplist") or {}
        if not listed:
            raise self._sees_nothing()
        return [
            Entity(
                name=name,
                address=one.get("address", ""),
                groups=sorted(group for group, its in grouped.items() if name in its.get("members", ())),
                labels={str(key): str(value) for key, value in (one.get("custom_variables") or {}).items()},
                services=sorted(one.get("services") or ()),
                source=self.name,
            )
            for name, one in listed.items()
        ]

    def health(self) -> Report:
        """Version, whether the core is alive and does its work, its clock, and whether this login sees anything."""
        facts: dict[str, Any] = {"source": self.name, "url": self.endpoint.url}
        findings: list[Finding] = []
        try:
            reply = self._cgi.read("statusjson", "programstatus")
            status = reply.data.get("programstatus") or {}
            facts["version"] = status.get("version", "unknown")
            findings += self._troubles(reply, status)
            facts["checks"] = len(self.checks())
        except SourceError as error:
            findings.append(_finding("critical", self.name, error.message, error.hint))
        if self.endpoint.remote.in_clear:
            findings.append(
                _finding("medium", self.name, "the login crosses the network unencrypted (http)", "use https")
            )
        return Report(f"Health of {self.name}", findings, facts=facts)

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """Sticky, until it recovers; the author is the login."""
        self._commands.acknowledge(check, comment)

    def unacknowledge(self, check: CheckState) -> None:
        """Remove the acknowledgement and its comment."""
        self._commands.unacknowledge(check)

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """A fixed downtime."""
        return self._commands.silence(check, window, comment)

    def unsilence(self, identifier: str) -> None:
        """Delete the downtime."""
        self._commands.unsilence(identifier)

    def _state(self, reply: Reply, one: Mapping[str, Any]) -> CheckState:
        host = "name" in one
        checked, due = moment(one.get("last_check")), moment(one.get("next_check"))
        silent = reply.updated is not None and reply.now - reply.updated > SILENT
        late = False
        if checked and due and one.get("checks_enabled") and one.get("should_be_scheduled") and due > checked:
            late = reply.now > due + max(due - checked, _GRACE)
        word = str(one.get("status"))
        return CheckState(
            entity=one["name"] if host else one["host_name"],
            check="" if host else one["description"],
            state=_STATES.get(word, "unknown"),
            hard=one.get("state_type") == "hard",
            since=moment(one.get("last_state_change")) if one.get("has_been_checked") else None,
            checked_at=checked,
            output=one.get("plugin_output", ""),
            perfdata=perfdata(one.get("perf_data", "")),
            acknowledged=bool(one.get("problem_has_been_acknowledged")),
            in_downtime=bool(one.get("scheduled_downtime_depth")),
            stale=silent or late,
            labels={"unreachable": "true"} if word == "unreachable" else {},
            id=one["name"] if host else f"{one['host_name']};{one['description']}",
            source=self.name,
        )

    def _sees_nothing(self) -> SourceError:
        """Empty lists mean no right to see: a core without a single host does not start."""
        text = f"{self.name} has hosts, but this login may see none of them"
        hint = "make it a contact of what it should see, or name it in authorized_for_all_hosts and _services (cgi.cfg)"
        return SourceError(text, source=self.name, hint=hint)

    def _asked(self, sli: SLI, end: int) -> dict[str, Any]:
        until, width = end // 1000, round(sli.window.total_seconds())
        names = {"hostname": sli.entity, **({"servicedescription": sli.check} if sli.check else {})}
        kind = "services" if sli.check else "hosts"
        return {
            "query": "availability", "availabilityobjecttype": kind, **names, "starttime": until - width,
            "endtime": until, "statetypes": "hard", "assumestatesduringnagiosdowntime": "false",
        }  # fmt: skip

    def _availability(self, sli: SLI, grid: Grid, asked: Sequence[dict[str, Any]]) -> SeriesFrame:
        import numpy as np

        values, unknown, ahead = np.full(grid.count, np.nan), 0, False
        for row, one in enumerate(asked):
            query = dict(one)
            reply = self._cgi.read("archivejson", query.pop("query"), asked=sli.name, **query)
            found = reply.data.get("service") or reply.data.get("host")
            if not found:
                text = f"{self.name} tells nothing of {sli.entity}/{sli.check}: this login may not see it"
                hint = "make it a contact of the host, or name it in authorized_for_all_services"
                raise SourceError(text, source=self.name, query=sli.name, hint=hint)
            known = sum(found.get(f"time_{state}", 0) for state in _KNOWN)
            good = found.get("time_ok", 0) + found.get("time_up", 0)
            values[row] = good / known if known else np.nan
            unknown += one["endtime"] - one["starttime"] - known
            ahead = ahead or one["endtime"] > reply.now.timestamp() + 1
        if np.isnan(values).all():
            text = f"{self.name} knows no state of {sli.entity}/{sli.check} in that window ({grid})"
            hint = "how long are its logs kept, and was it checked then?"
            raise NoData(text, source=self.name, query=sli.name, hint=hint)
        warnings = [f"for {unknown} s no state is known: left out, counted neither as ok nor as bad"] if unknown else []
        warnings += ["the window ends in the server's future: compare the clocks"] if ahead else []
        group = group_of({"host": sli.entity, "service": sli.check}, sli.by)
        complete = not warnings
        native = f"{sli.entity}/{sli.check}"
        return frame_of(
            sli, grid, {group: values}, source=self.name, query=native, complete=complete, warnings=warnings
        )

    def _alerts(self, window: Window) -> Iterator[Event]:
        bounds = {"starttime": int(window.start.timestamp()), "endtime": -int(-window.end.timestamp() // 1)}
        for page in range(10_000):
            given: dict[str, Any] = {"start": page * _PAGE, "count": _PAGE, **bounds}
            found = self._cgi.read("archivejson", "alertlist", **given).data.get("alertlist") or []
            for one in found:
                where = "/".join(filter(None, (one.get("host_name") or one.get("name"), one.get("description"))))
                yield Event(
                    start=moment(one["timestamp"]) or window.start,
                    title=f"{where} {one.get('state')} ({one.get('state_type')})",
                    text=one.get("plugin_output", ""),
                    tags=["state", str(one.get("state"))],
                    source=self.name,
                )
            if len(found) < _PAGE:
                return

    def _downtimes(self) -> Iterator[Event]:
        listed = self._cgi.read("statusjson", "downtimelist", details="true").data.get("downtimelist") or {}
        for number, one in listed.items():
            kind = "service" if one.get("service_description") else "host"
            yield Event(
                start=moment(one.get("start_time")) or datetime.fromtimestamp(0, UTC),
                end=moment(one.get("end_time")),
                title=f"downtime of {_where(one)}",
                text=f"{one.get('author')}: {one.get('comment')}",
                tags=["downtime"],
                source=self.name,
                id=f"{kind}:{number}:{one.get('entry_time', 0) // 1000}",
            )

    def _comments(self) -> Iterator[Event]:
        listed = self._cgi.read("statusjson", "commentlist", details="true").data.get("commentlist") or {}
        for number, one in listed.items():
            if one.get("entry_type") in ("downtime", "flapping"):
                continue  # the core's own words about what is shown already
            yield Event(
                start=moment(one.get("entry_time")) or datetime.fromtimestamp(0, UTC),
                title=f"comment on {_where(one)}",
                text=f"{one.get('author')}: {one.get('comment_data')}",
                tags=["comment"],
                source=self.name,
                id=f"comment:{number}",
            )

    def _troubles(self, reply: Reply, status: Mapping[str, Any]) -> Iterator[Finding]:
        age = reply.now - reply.updated if reply.updated else None
        if age is None or age > SILENT:
            said = f"for {age.total_seconds():.0f} s" if age else "at all"
            yield _finding(
                "critical", "core", f"it has not written its state {said}: what it shows is old", "start the core"
            )
        if abs(reply.now - self.clock.now()) > _SKEW:
            skew = (reply.now - self.clock.now()).total_seconds()
            yield _finding(
                "medium", "clock", f"its clock differs from ours by {skew:+.0f} s", "compare with a time server"
            )
        for name, what in (
            ("execute_service_checks", "it runs no service checks"),
            ("execute_host_checks", "it runs no host checks"),
            ("enable_notifications", "it notifies nobody"),
        ):
            if status.get(name) is False:
                yield _finding("medium", name, f"{what}: {name} is off", f"set {name}=1, or start it in the web page")


def _where(one: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (one.get("host_name"), one.get("service_description"))))


def _finding(severity: Severity, subject: str, summary: str, remedy: str) -> Finding:
    return Finding(severity=severity, subject=subject, summary=summary, proof="certain", remedy=remedy)
