"""Deploy markers in Zabbix: texts in one trapper item, which ``marker = "host/key"`` names.

Zabbix has no annotations, and no value of an item can be deleted alone. So taking a marker back writes a second text that
says so; `read` leaves the pair out, and whoever looks at the item sees both.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sretoolkit.clock import poll
from sretoolkit.errors import ConfigError, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics.events import Event, Window
from sretoolkit.report import plain

if TYPE_CHECKING:
    from sretoolkit.metrics.sources._zabbix_api import API

SETTLE = 20.0
_TEXTS = (1, 2, 4)
_MOST_BYTES = 1 << 16
_LONGEST = 60_000


class Markers:
    """The texts of one item. ``trapper`` ("host:port" of the server) is needed by 6.0 alone; 7.0 takes them by its API."""

    def __init__(self, api: API, marker: str, trapper: str) -> None:
        self.api = api
        self.name = api.source.name
        self.host, _, self.key = marker.partition("/")
        self.trapper = trapper

    def write(self, event: Event) -> str:
        """Store a marker at its moment; returns its id when it can be read."""
        now = self.api.source.clock.now()
        salted = json.dumps([event.title, event.text, list(event.tags), event.start.isoformat(), now.isoformat()])
        number = hashlib.sha256(salted.encode()).hexdigest()[:16]
        body: dict[str, Any] = {"id": number, "title": event.title, "text": event.text, "tags": list(event.tags)}
        if event.end:
            body["end"] = event.end.isoformat()
        self._store(json.dumps(body, ensure_ascii=False), event.start)
        return number

    def take_back(self, identifier: str) -> None:
        """Store that a marker is void; fine when that was said already, or no such marker is there."""
        found, void = self._all(0)
        if identifier in {body["id"] for _, body in found} - void:
            self._store(json.dumps({"void": identifier}), self.api.source.clock.now())

    def read(self, window: Window) -> Iterator[Event]:
        """The markers in the window that were not taken back."""
        found, void = self._all(int(window.start.timestamp()) - 1)
        for at, body in found:
            if body["id"] not in void:
                yield Event(
                    start=at, end=_moment(body.get("end")), title=str(body.get("title", "")), text=str(body.get("text", "")),
                    tags=[str(tag) for tag in body.get("tags") or ()], source=self.name, id=str(body["id"]),
                )  # fmt: skip

    def _item(self) -> dict[str, Any]:
        given = {
            "output": ["itemid", "value_type", "type"], "filter": {"host": [self.host], "key_": [self.key]},
            "templated": False,
        }  # fmt: skip
        found = self.api.read("item.get", given)
        if not found or int(found[0]["value_type"]) not in _TEXTS:
            text = f"{self.name}: the option marker names no item of type text: {plain(self.host)}/{plain(self.key)}"
            hint = 'make a trapper item of type "Text" and write marker = "host/key"'
            raise ConfigError(text, hint=hint)
        return dict(found[0])

    def _all(self, since: int) -> tuple[list[tuple[datetime, dict[str, Any]]], set[str]]:
        item = self._item()
        given = {
            "history": int(item["value_type"]), "itemids": [item["itemid"]], "time_from": since,
            "output": ["clock", "ns", "value"], "sortfield": "clock", "sortorder": "DESC", "limit": 10_000,
        }  # fmt: skip
        markers, void = [], set()
        for row in reversed(self.api.read("history.get", given)):
            try:
                body = json.loads(row["value"])
                at = datetime.fromtimestamp(int(row["clock"]), UTC) + timedelta(microseconds=int(row["ns"]) // 1000)
            except ValueError:
                continue  # somebody else's text
            if isinstance(body, dict) and "void" in body:
                void.add(str(body["void"]))
            elif isinstance(body, dict) and isinstance(body.get("id"), str):
                markers.append((at, body))
        return markers, void

    def _store(self, text: str, at: datetime) -> None:
        if len(text) > _LONGEST:
            raise QueryError(
                f"{self.name}: a marker of {len(text)} characters", source=self.name, hint="shorten its text"
            )
        item = self._item()
        clock, ns = int(at.timestamp()), at.microsecond * 1000
        row = {"host": self.host, "key": self.key, "value": text, "clock": clock, "ns": ns}
        sent = self._push(row) if self.api.version >= (7, 0) else self._send(row)
        if sent:
            raise SourceError(
                f"{self.name} does not take the marker: {sent}", source=self.name,
                hint="is it a trapper item of a monitored host, and may this login (or address) write to it?",
            )  # fmt: skip
        given = {
            "history": int(item["value_type"]), "itemids": [item["itemid"]], "time_from": clock, "time_till": clock,
            "output": ["value"],
        }  # fmt: skip
        seen = poll(
            lambda: any(one["value"] == text for one in self.api.read("history.get", given)),
            timeout=SETTLE, interval=0.25, clock=self.api.source.clock,
        )  # fmt: skip
        if not seen:
            text = f"{self.name} took the marker, but after {SETTLE:g} s it cannot be read"
            raise SourceUnavailable(text, source=self.name, hint="look at the server's log and its history cache")

    def _push(self, row: dict[str, Any]) -> str:
        reply = self.api.write("history.push", [row])
        results = reply.get("data") or [{}]
        return plain(results[0].get("error", "")) if reply.get("response") == "success" else plain(reply)

    def _send(self, row: dict[str, Any]) -> str:
        """The trapper protocol: "ZBXD", 1, the body's length, and JSON both ways."""
        host, _, port = self.trapper.rpartition(":")
        body = json.dumps({"request": "sender data", "data": [row]}).encode()
        seconds = self.api.source.endpoint.timeout.total_seconds()
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds) as connection:
                connection.sendall(b"ZBXD\x01" + struct.pack("<II", len(body), 0) + body)
                head = _exactly(connection, 13)
                if head[:4] != b"ZBXD":
                    return "what listens there is no Zabbix server"
                (size,) = struct.unpack("<I", head[5:9])
                reply = json.loads(_exactly(connection, min(size, _MOST_BYTES)))
        except (OSError, ValueError) as error:
            text = f"{self.name}: the Zabbix server at {plain(self.trapper)} does not answer: {plain(error)}"
            raise SourceUnavailable(
                text, source=self.name, hint='trapper is "host:port" of the server, not the web'
            ) from error
        told = str(reply.get("info", "")) if isinstance(reply, dict) else ""
        return "" if "failed: 0" in told and "processed: 1" in told else plain(told or reply)


def _exactly(connection: socket.socket, size: int) -> bytes:
    pieces = b""
    while len(pieces) < size:
        piece = connection.recv(size - len(pieces))
        if not piece:
            raise ValueError("it broke off")
        pieces += piece
    return pieces


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except (TypeError, ValueError):
        return None
