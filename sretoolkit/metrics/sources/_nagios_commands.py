"""Acknowledgements and downtimes through Nagios' command form, each read back: the core carries them out later."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sretoolkit.clock import poll
from sretoolkit.errors import QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics.events import Window
from sretoolkit.metrics.sources._nagios_cgi import CGI, moment
from sretoolkit.metrics.states import CheckState
from sretoolkit.report import plain

SETTLE = 15.0
_ACKNOWLEDGE, _UNACKNOWLEDGE, _SILENCE, _UNSILENCE = (33, 34), (51, 52), (55, 56), (78, 79)  # of a host, of a service
_DATES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%m-%d-%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S")
_QUARTER = timedelta(minutes=15)
Downtime = Mapping[str, Any]


class Commands:
    """What can be done to a check, and undone."""

    def __init__(self, cgi: CGI) -> None:
        self.cgi = cgi
        self.name = cgi.source.name
        self.clock = cgi.source.clock

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """Until it recovers (sticky), without telling the contacts."""
        if self._state(check)["status"] in ("ok", "up", "pending"):
            hint = "only a problem can be acknowledged; has it recovered?"
            raise QueryError(f"{self.name}: {_called(check)} has no problem", source=self.name, hint=hint)
        self._send(_ACKNOWLEDGE, check, com_data=plain(comment), sticky_ack="on")
        self._wait(lambda: self._acknowledged(check), f"{_called(check)} is not acknowledged")

    def unacknowledge(self, check: CheckState) -> None:
        """Fine when it is not acknowledged."""
        if self._acknowledged(check):
            self._send(_UNACKNOWLEDGE, check)
            self._wait(lambda: not self._acknowledged(check), f"{_called(check)} is still acknowledged")

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """A fixed downtime; its id, with the time of entry by which a later one of the same number is told apart."""
        start, end = math.floor(window.start.timestamp()), math.ceil(window.end.timestamp())
        if end <= self.clock.now().timestamp() or end <= start:
            text = f"{self.name}: a downtime of {_called(check)} would be over already"
            raise QueryError(text, source=self.name, hint="give a window that ends later")
        before = set(self._downtimes())
        _, shown = self.cgi.form(_SILENCE[bool(check.check)], **_target(check))
        for spelling, offset in self._spellings(shown):
            self._send(
                _SILENCE, check, com_data=plain(comment), trigger=0, fixed=1, childoptions=0, hours=0, minutes=0,
                start_time=_spelt(start, spelling, offset), end_time=_spelt(end, spelling, offset),
            )  # fmt: skip
            number, found = self._wait(lambda: self._new(check, before), f"{_called(check)} has no downtime")
            identifier = f"{'service' if check.check else 'host'}:{number}:{found['entry_time'] // 1000}"
            if (found["start_time"], found["end_time"]) == (start * 1000, end * 1000):
                return identifier
            self.unsilence(identifier)  # it read day and month, or the zone, otherwise than we wrote them
        text = f"{self.name}: {_called(check)} got no downtime: the server reads times otherwise ({plain(shown)})"
        raise SourceError(text, source=self.name, hint="set date_format=iso8601 in nagios.cfg")

    def unsilence(self, identifier: str) -> None:
        """Fine when it is over already."""
        kind, number, entered = [*identifier.split(":"), "", ""][:3]
        if kind not in ("host", "service") or not number.isdecimal():
            hint = "it is what silence returned, as service:12:1700000000"
            raise QueryError(f"{self.name}: {plain(identifier)} is no downtime's id", source=self.name, hint=hint)

        def there() -> bool:
            found = self._downtimes().get(number)
            return found is not None and str(found.get("entry_time", 0) // 1000) == entered

        if there():
            command = _UNSILENCE[kind == "service"]
            key, _ = self.cgi.form(command, down_id=number)
            self.cgi.submit(command, key, down_id=number)
            self._wait(lambda: not there(), f"the downtime {number} is still there")

    def _send(self, command: tuple[int, int], check: CheckState, **fields: Any) -> None:
        number = command[bool(check.check)]
        key, _ = self.cgi.form(number, **_target(check))
        self.cgi.submit(number, key, **_target(check), **fields)

    def _state(self, check: CheckState) -> Mapping[str, Any]:
        if check.check:
            reply = self.cgi.read("statusjson", "service", hostname=check.entity, servicedescription=check.check)
            return reply.data["service"]  # type: ignore[no-any-return]
        return self.cgi.read("statusjson", "host", hostname=check.entity).data["host"]  # type: ignore[no-any-return]

    def _acknowledged(self, check: CheckState) -> bool:
        return bool(self._state(check)["problem_has_been_acknowledged"])

    def _downtimes(self) -> dict[str, Downtime]:
        found = self.cgi.read("statusjson", "downtimelist", details="true").data.get("downtimelist") or {}
        return dict(found)

    def _new(self, check: CheckState, before: set[str]) -> tuple[str, Downtime] | None:
        wanted = (check.entity, check.check)
        for number, one in self._downtimes().items():
            if number not in before and (one.get("host_name"), one.get("service_description", "")) == wanted:
                return number, one
        return None

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        found = poll(condition, timeout=SETTLE, interval=0.25, clock=self.clock)
        if not found:
            text = f"{self.name} took the command, but after {SETTLE:g} s {what}"
            hint = "look at the core's log: is it running, with check_external_commands=1?"
            raise SourceUnavailable(text, source=self.name, hint=hint)
        return found

    def _spellings(self, shown: str) -> list[tuple[str, timedelta]]:
        """The date formats that the form's time can be in, with the zone's offset; two when day and month are equal."""
        found = []
        for spelling in _DATES:
            try:
                offset = datetime.strptime(shown, spelling).replace(tzinfo=UTC) - self.clock.now()
            except ValueError:
                continue
            if abs(offset) < timedelta(hours=15):
                found.append((spelling, round(offset / _QUARTER) * _QUARTER))
        return found


def _spelt(seconds: int, spelling: str, offset: timedelta) -> str:
    found = moment(seconds * 1000)
    assert found is not None
    return (found + offset).strftime(spelling)


def _target(check: CheckState) -> dict[str, str]:
    return {"host": check.entity, **({"service": check.check} if check.check else {})}


def _called(check: CheckState) -> str:
    return plain(f"{check.entity}/{check.check}" if check.check else check.entity)
