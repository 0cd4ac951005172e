"""Triggers, problems, maintenances and hosts of a Zabbix, as states, events and machines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import NoData, QueryError, SourceError
from sretoolkit.metrics.entity import Entity
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.sources._zabbix_api import moment
from sretoolkit.metrics.states import CheckState, State
from sretoolkit.report import plain

if TYPE_CHECKING:
    from sretoolkit.metrics.sources._zabbix_api import API

SEVERITIES = ("not classified", "information", "warning", "average", "high", "disaster")
_STATES: tuple[State, ...] = ("warning", "warning", "warning", "critical", "critical", "critical")
_PAGE = 5000
_ACKNOWLEDGE, _MESSAGE, _UNACKNOWLEDGE = 2, 4, 16  # bits of event.acknowledge's action
_LEAST = timedelta(minutes=5)
_MARK = "sretoolkit: "


class States:
    """What one Zabbix says of its hosts, and what can be done to a problem."""

    def __init__(self, api: API) -> None:
        self.api = api
        self.name = api.source.name

    def checks(self) -> list[CheckState]:
        """Every trigger that is evaluated, and every item that cannot be collected (unknown)."""
        triggers = self.api.read("trigger.get", {**_TRIGGER, "monitored": True, "skipDependent": True})
        problems = {one["objectid"]: one for one in self._problems()}
        items = self.api.read(
            "item.get",
            {
                "output": ["itemid", "key_", "name", "error"], "selectHosts": ["host", "maintenance_status"],
                "monitored": True, "filter": {"state": 1}, "selectTags": ["tag", "value"],
            },
        )  # fmt: skip
        return [
            *(self._of_trigger(one, problems.get(one["triggerid"])) for one in triggers),
            *(self._of_item(one) for one in items),
        ]

    def events(self, window: Window) -> Iterator[Event]:
        """Problems that lie in the window, at least in part, each with its end; and maintenances."""
        start, end = int(window.start.timestamp()), math.ceil(window.end.timestamp())
        found = list(
            self._pages("event.get", {**_EVENT, "value": 1, "problem_time_from": start, "problem_time_till": end})
        )
        ends = self._clocks([one["r_eventid"] for one in found if one.get("r_eventid", "0") != "0"])
        for one in found:
            hosts = "/".join(host["host"] for host in one.get("hosts") or ())
            yield Event(
                start=_precise(one), end=ends.get(one.get("r_eventid", "0")), title=f"{hosts}: {one['name']}",
                text=_opdata(one), tags=["problem", _severity(one), *_tags(one)], source=self.name, id=one["eventid"],
            )  # fmt: skip
        given = {"output": "extend", "selectHosts": ["host"], _groups(self.api): ["name"]}
        for one in self.api.read("maintenance.get", given):
            where = [host["host"] for host in one.get("hosts") or ()]
            where += [group["name"] for group in one.get("groups") or one.get("hostgroups") or ()]
            since = moment(one["active_since"])
            if since:
                yield Event(
                    start=since, end=moment(one["active_till"]), title=f"maintenance {one['name']}: {', '.join(where)}",
                    text=one.get("description", ""), tags=["maintenance"], source=self.name, id=one["maintenanceid"],
                )  # fmt: skip

    def discover(self) -> list[Entity]:
        """All hosts that are monitored, with address, groups, tags and items."""
        groups = _groups(self.api)
        found = self.api.read(
            "host.get",
            {
                "output": ["host", "name"], "monitored_hosts": True, groups: ["name"],
                "selectInterfaces": ["ip", "dns", "useip", "main"], "selectTags": ["tag", "value"],
                "selectItems": ["key_"],
            },
        )  # fmt: skip
        return [self._entity(one) for one in sorted(found, key=lambda one: str(one["host"]))]

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """All open problems of a trigger."""
        self.api.write(
            "event.acknowledge",
            {"eventids": self._open(check), "action": _ACKNOWLEDGE | _MESSAGE, "message": plain(comment) or "known"},
        )

    def unacknowledge(self, check: CheckState) -> None:
        """Fine when there is no problem any more."""
        given = {"objectids": [check.id], "acknowledged": True, "output": ["eventid"]}
        if ids := [one["eventid"] for one in self.api.read("problem.get", given)]:
            self.api.write("event.acknowledge", {"eventids": ids, "action": _UNACKNOWLEDGE})

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """A maintenance of the host; only for problems with all of the trigger's tags, where it has any."""
        start = int(window.start.timestamp()) // 60 * 60
        end = -(-math.ceil(window.end.timestamp()) // 60) * 60
        if end <= self.api.source.clock.now().timestamp() or end - start < _LEAST.total_seconds():
            text = f"{self.name}: a maintenance lasts five minutes at least, and must end in the future"
            raise QueryError(text, source=self.name, hint="give a longer window")
        hosts = self.api.read("host.get", {"filter": {"host": [check.entity]}, "output": ["hostid"]})
        if not hosts:
            text = f"{self.name} has no host {plain(check.entity)} that this login may see"
            raise QueryError(text, source=self.name, hint="give the technical name")
        tags = self._trigger_tags(check)
        of = "its problems with the same tags" if tags else "all problems of this host"
        name = f"{_MARK}{check.entity} {check.check} {start}"[:110] + f" {self.api.source.clock.now().timestamp():.0f}"
        made = self.api.write(
            "maintenance.create",
            {
                "name": name, "active_since": start, "active_till": end, "hosts": [{"hostid": hosts[0]["hostid"]}],
                "description": f"{plain(comment)} ({of})", "maintenance_type": 0, "tags_evaltype": 0, "tags": tags,
                "timeperiods": [{"timeperiod_type": 0, "start_date": start, "period": end - start}],
            },
        )  # fmt: skip
        return str(made["maintenanceids"][0])

    def unsilence(self, identifier: str) -> None:
        """Delete a maintenance that `silence` made, and no other."""
        known = self.api.read("maintenance.get", {"maintenanceids": [identifier], "output": ["name"]})
        if not known:
            return
        if not known[0]["name"].startswith(_MARK):
            text = f"{self.name}: the maintenance {plain(identifier)} is not ours: {plain(known[0]['name'])}"
            raise QueryError(text, source=self.name, hint="end it in Zabbix itself")
        self.api.write("maintenance.delete", [identifier])

    def trigger(self, entity: str, check: str) -> Mapping[str, Any]:
        """The one trigger of this host with this name; raises `NoData`, or `QueryError` when there are several."""
        found = self.api.read("trigger.get", {**_TRIGGER, "filter": {"host": [entity]}}, asked=check)
        named = [one for one in found if one["description"] == check]
        if not named:
            text = f"{self.name} has no trigger {plain(check)!r} on {plain(entity)!r}"
            hint = f"there are: {', '.join(plain(one['description']) for one in found[:5]) or 'none'}"
            raise NoData(text, source=self.name, query=check, hint=hint)
        if len(named) > 1:
            text = f"{self.name} has {len(named)} triggers {plain(check)!r} on {plain(entity)!r}"
            raise QueryError(text, source=self.name, query=check, hint="name them differently")
        return dict(named[0])

    def changes(self, trigger: Mapping[str, Any], start: int, end: int) -> tuple[int | None, list[tuple[int, int]]]:
        """The trigger's value (1 = problem) at ``start``, None when nobody knows, and its changes in (start, end]."""
        about = {"objectids": [trigger["triggerid"]], "source": 0, "object": 0, "output": ["eventid", "clock", "value"]}
        newest_first = {"sortfield": ["clock", "eventid"], "sortorder": "DESC", "limit": 1}
        before = self.api.read("event.get", {**about, "time_till": start, **newest_first})
        within = self._pages("event.get", {**about, "time_from": start + 1, "time_till": end})
        changes = [(int(one["clock"]), int(one["value"])) for one in within]
        changes.sort(key=lambda change: change[0])
        if before:
            return int(before[0]["value"]), changes
        if changes:
            return 1 - changes[0][1], changes
        last = int(trigger.get("lastchange") or 0)
        return (int(trigger["value"]) if last <= start else None), changes

    def _problems(self) -> Iterator[dict[str, Any]]:
        given = {
            "output": ["eventid", "objectid", "clock", "ns", "name", "acknowledged", "severity", "suppressed"],
            "selectTags": ["tag", "value"], "source": 0, "object": 0,
        }  # fmt: skip
        return self._pages("problem.get", given)

    def _pages(self, method: str, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """In pages by id; the newest first is not needed."""
        after = 0
        while True:
            page = {**given, "eventid_from": str(after), "sortfield": ["eventid"], "sortorder": "ASC", "limit": _PAGE}
            rows = self.api.read(method, page)
            yield from rows
            if len(rows) < _PAGE:
                return
            after = int(rows[-1]["eventid"]) + 1

    def _clocks(self, ids: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for begin in range(0, len(ids), _PAGE):
            given = {"eventids": list(ids[begin : begin + _PAGE]), "output": ["eventid", "clock", "ns"]}
            found |= {one["eventid"]: _precise(one) for one in self.api.read("event.get", given)}
        return found

    def _open(self, check: CheckState) -> list[str]:
        found = self.api.read("problem.get", {"objectids": [check.id], "output": ["eventid"], "source": 0, "object": 0})
        if not found:
            text = f"{self.name}: {plain(check.entity)}/{plain(check.check)} has no open problem"
            hint = "only the problem of a trigger can be acknowledged; has it been solved?"
            raise QueryError(text, source=self.name, hint=hint)
        return [one["eventid"] for one in found]

    def _trigger_tags(self, check: CheckState) -> list[dict[str, Any]]:
        if not check.id.isdecimal():
            return []
        given = {"triggerids": [check.id], "output": ["triggerid"], "selectTags": ["tag", "value"]}
        found = self.api.read("trigger.get", given)
        tags = found[0].get("tags") or [] if found else []
        return [{"tag": one["tag"], "value": one["value"], "operator": 0} for one in tags]

    def _of_trigger(self, one: Mapping[str, Any], problem: Mapping[str, Any] | None) -> CheckState:
        host = (one.get("hosts") or [{}])[0]
        severity = int((problem or {}).get("severity", one["priority"]))
        state: State = _STATES[severity] if one["value"] == "1" else "ok"
        unknown = one.get("state") == "1"
        return CheckState(
            entity=host.get("host", ""),
            check=one["description"],
            state="unknown" if unknown else state,
            since=moment((problem or one).get("clock", one.get("lastchange"))),
            output=one.get("error", "") if unknown else str((problem or {}).get("name", "")),
            acknowledged=(problem or {}).get("acknowledged") == "1",
            in_downtime=host.get("maintenance_status") == "1" or (problem or {}).get("suppressed") == "1",
            labels={**_labels(one), "severity": SEVERITIES[severity]},
            id=one["triggerid"],
            source=self.name,
        )

    def _of_item(self, one: Mapping[str, Any]) -> CheckState:
        host = (one.get("hosts") or [{}])[0]
        return CheckState(
            entity=host.get("host", ""),
            check=one["key_"],
            state="unknown",
            output=one.get("error", ""),
            in_downtime=host.get("maintenance_status") == "1",
            labels=_labels(one),
            id=f"item:{one['itemid']}",
            source=self.name,
        )

    def _entity(self, one: Mapping[str, Any]) -> Entity:
        faces = sorted(one.get("interfaces") or (), key=lambda face: face["main"] != "1")
        address = (faces[0]["ip"] if faces[0]["useip"] == "1" else faces[0]["dns"]) if faces else ""
        return Entity(
            name=one["host"],
            address=address,
            groups=sorted(group["name"] for group in one.get("groups") or one.get("hostgroups") or ()),
            labels=_labels(one),
            services=sorted(item["key_"] for item in one.get("items") or ()),
            source=self.name,
        )


_TRIGGER = {
    "output": ["triggerid", "description", "priority", "value", "state", "error", "lastchange"], "expandDescription": True,
    "selectHosts": ["host", "maintenance_status"], "selectTags": ["tag", "value"],
}  # fmt: skip
_EVENT = {
    "output": ["eventid", "clock", "ns", "name", "severity", "r_eventid", "opdata"], "selectHosts": ["host"],
    "selectTags": ["tag", "value"], "source": 0, "object": 0,
}  # fmt: skip


def _groups(api: API) -> str:
    return "selectHostGroups" if api.version >= (6, 2) else "selectGroups"


def _labels(one: Mapping[str, Any]) -> dict[str, str]:
    return {tag["tag"]: tag["value"] for tag in one.get("tags") or ()}


def _tags(one: Mapping[str, Any]) -> list[str]:
    return [f"{tag}:{value}" if value else tag for tag, value in _labels(one).items()]


def _severity(one: Mapping[str, Any]) -> str:
    return SEVERITIES[int(one.get("severity") or 0)]


def _opdata(one: Mapping[str, Any]) -> str:
    return str(one.get("opdata") or "")


def _precise(one: Mapping[str, Any]) -> Any:
    found = moment(one["clock"])
    if found is None:
        raise SourceError("an event without a time", source="", hint="is this Zabbix?")
    return found + timedelta(microseconds=int(one.get("ns") or 0) // 1000)
