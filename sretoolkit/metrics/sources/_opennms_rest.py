"""OpenNMS' REST API: pages, its query language (FIQL) and its times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from sretoolkit.clock import Clock
from sretoolkit.errors import HTTPError, SourceError
from sretoolkit.http.client import Answer
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.wire import Wire

PAGE = 1000
_WORDS = 300
OPEN = "outage.ifRegainedService==1970-01-01T00:00:00.000-0000"  # the API writes "no time" so


class Rest:
    """The connection to one server; ``root`` is where its web application lies (usually ``/opennms``)."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock) -> None:
        remote = endpoint.remote
        headers = {**remote.headers, "Accept": "application/json"}  # without it, XML
        self.name = endpoint.name
        self.root = "" if urlsplit(remote.url).path.strip("/") else "/opennms"
        wired = replace(endpoint, remote=replace(remote, headers=headers))
        self.wire = Wire(wired, product="OpenNMS", said=_said, clock=clock)

    def json(self, method: str, path: str, *, query: str = "", **options: Any) -> Any:
        """One answer; None for 204, which means that there is nothing."""
        answer = self.wire.ask(method, self.root + path, query=query, **options)
        if answer.status == 204 or not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            self.wire.foreign(answer, query)

    def pages(self, path: str, name: str, *, fiql: str = "", query: str = "") -> Iterator[Mapping[str, Any]]:
        """Every object of a list, whatever the number of pages; raises `SourceError` when they do not go on."""
        seen: set[str] = set()
        offset = 0
        while True:
            params = {"limit": PAGE, "offset": offset, "orderBy": "id", "order": "asc"}
            answer = self.json("GET", path, query=query, params={**params, **({"_s": fiql} if fiql else {})})
            if answer is None:
                return
            found = answer.get(name) if isinstance(answer, dict) else None
            total = answer.get("totalCount") if isinstance(answer, dict) else None
            if not isinstance(found, list) or not isinstance(total, int):
                hint = (
                    "does url lead to OpenNMS itself (.../opennms)? is its API version 2 there (Horizon 21 and later)?"
                )
                raise SourceError(f"{self.name} answers {path} with no list", source=self.name, query=query, hint=hint)
            fresh = [one for one in found if isinstance(one, dict) and str(one.get("id")) not in seen]
            seen |= {str(one.get("id")) for one in fresh}
            yield from fresh
            offset += len(found)
            if offset >= total:
                return
            if not fresh:
                hint = "is there a proxy in between that drops the parameter offset?"
                text = f"{self.name} gives the same page of {path} again and again"
                raise SourceError(text, source=self.name, query=query, hint=hint)

    def send(self, path: str, form: Mapping[str, Any], *, query: str) -> Answer:
        """Change something."""
        headers = {"Accept": "*/*"}
        try:
            answer = self.wire.http.send("POST", self.root + path, form=form, headers=headers)
        except HTTPError as error:
            self.wire.failed(error, query)
        if not answer.ok:
            self.wire.refused(answer, query)
        return answer


def fiql(text: str) -> str:
    """A value in FIQL: what has a meaning there is percent-encoded, to which the transport adds its own encoding.

    A ``*`` stays a wildcard to the server even so; whoever asks must look at the answer once more.
    """
    return quote(text, safe="", errors="replace")


def fiql_time(at: datetime) -> str:
    """A moment in FIQL; the offset is -0000, for the server reads a + as a blank."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}-0000"


def moment(given: Any) -> datetime | None:
    """A time of the API: milliseconds, or text as ``2024-06-01T08:00:00.000+0000``."""
    try:
        if isinstance(given, int | float) and not isinstance(given, bool):
            return datetime.fromtimestamp(given / 1000, UTC)
        found = datetime.fromisoformat(str(given))
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def service_of(given: Mapping[str, Any]) -> str:
    """The name of the service that an alarm, outage or event is of; "" without one."""
    for place in (given, given.get("monitoredService")):
        kind = place.get("serviceType") if isinstance(place, Mapping) else None
        if isinstance(kind, Mapping) and kind.get("name"):
            return str(kind["name"])
    return ""


def node_of(given: Mapping[str, Any]) -> str:
    """The label of the node that it is of; "" without one."""
    node = given.get("node")
    return str(given.get("nodeLabel") or (node.get("label") if isinstance(node, Mapping) else "") or "")


def _said(answer: Answer) -> str:
    """Its errors are plain text."""
    return answer.text.strip()[:_WORDS] if answer.kind == "text/plain" else ""
