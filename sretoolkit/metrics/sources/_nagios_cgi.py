"""What goes over the wire to Nagios' CGIs: JSON that is read, commands that are submitted as its own forms are.

An error comes with HTTP 200 and, when two things are wrong, with the key ``result`` twice; all its words are kept.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sretoolkit.errors import QueryError, SourceError, SourceUnavailable
from sretoolkit.http.client import Answer
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import plain

_SERVERS_FAULT = (1, 2)  # out of memory, a file that cannot be read
_FORM = re.compile(r"NAME='(?P<name>nagFormId|start_time)' VALUE='(?P<value>[^']*)'")
_TOLD = re.compile(r"CLASS='(?:info|error)Message'>(?P<text>.*?)</", re.S)
_DONE = "successfully submitted"


@dataclass(frozen=True)
class Reply:
    """The data of an answer, and the server's two clocks: now, and when the core last wrote its state."""

    data: Mapping[str, Any]
    now: datetime
    updated: datetime | None


class CGI:
    """The CGIs of one Nagios."""

    def __init__(self, source: MetricSource) -> None:
        self.source = source
        self.wire = Wire(source.endpoint, product="Nagios", clock=source.clock)
        self.folder = "" if "/cgi-bin" in urlsplit(source.endpoint.url).path else "/cgi-bin"

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()

    def read(self, page: str, query: str, *, asked: str = "", **parameters: Any) -> Reply:
        """One question to statusjson, objectjson or archivejson; ``asked`` is what the user wanted, for errors."""
        given = {"query": query, **parameters, "formatoptions": "enumerate"}
        answer = self.wire.ask("GET", f"{self.folder}/{page}.cgi", query=asked, params=given)
        body = self._parsed(answer, asked)
        results = body["result"]
        code = results[-1].get("type_code")
        if code != 0:
            words = "; ".join(dict.fromkeys(plain(one.get("message") or one.get("type_text")) for one in results))
            self._failed(code, words, asked)
        at, updated = (results[-1].get(name) for name in ("query_time", "last_data_update"))
        return Reply(body.get("data") or {}, moment(at) or self.source.clock.now(), moment(updated))

    def _parsed(self, answer: Answer, asked: str) -> dict[str, Any]:
        if not answer.content.strip():
            text = f"{self.source.name}: the CGI answers with nothing"
            hint = "is the core running? it removes its status file when it stops"
            raise SourceUnavailable(text, source=self.source.name, query=asked, hint=hint)
        try:
            body = json.loads(answer.text, strict=False, object_pairs_hook=_pairs)
        except (ValueError, RecursionError):
            self.wire.foreign(answer, asked)
        results = body.get("result") if isinstance(body, dict) else None
        if not results or not all(isinstance(one, dict) and "type_code" in one for one in results):
            self.wire.foreign(answer, asked)
        return dict(body)

    def _failed(self, code: Any, words: str, asked: str) -> None:
        name = self.source.name
        if code in _SERVERS_FAULT:
            hint = "is the core running, and may the web server's user read its files?"
            raise SourceUnavailable(f"{name} failed: {words}", source=name, query=asked, hint=hint)
        hint = "check the names; one that this login may not see is not found either"
        raise QueryError(f"{name}: {words}", source=name, query=asked, hint=hint)

    def form(self, number: int, **fields: str) -> tuple[dict[str, str], str]:
        """The command's form: its hidden key with the cookie that must come with it, and what stands in start_time."""
        answer = self.wire.ask("GET", f"{self.folder}/cmd.cgi", params={"cmd_typ": number, **fields})
        found = {match["name"]: html.unescape(match["value"]) for match in _FORM.finditer(answer.text)}
        if "nagFormId" not in found and "cmd_mod" not in answer.text:
            self._refused(answer)
        return {"nagFormId": found["nagFormId"]} if "nagFormId" in found else {}, found.get("start_time", "")

    def submit(self, number: int, key: Mapping[str, str], **fields: Any) -> None:
        """Commit a command; Nagios carries it out a little later, so the caller reads back what came of it."""
        cookie = {"Cookie": f"NagFormId={key['nagFormId']}"} if key else {}
        form = {**key, "cmd_typ": number, "cmd_mod": 2, **fields}
        answer = self.wire.ask("POST", f"{self.folder}/cmd.cgi", form=form, headers=cookie)
        if _DONE not in answer.text:
            self._refused(answer)

    def _refused(self, answer: Answer) -> None:
        told = _TOLD.search(answer.text)
        name = self.source.name
        if not told:
            self.wire.foreign(answer)
        words = plain(re.sub(r"<[^>]*>", " ", html.unescape(told["text"]))).strip()
        hint = (
            "commands need check_external_commands=1, and the login as authorized_for_all_service_commands and the like"
        )
        raise SourceError(f"{name} refused the command: {words}", source=name, hint=hint)


def moment(milliseconds: Any) -> datetime | None:
    """A time of an answer; 0 means never."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose ``result`` is the list of all that are given under that key."""
    found = dict(pairs)
    if "result" in found:
        found["result"] = [value for name, value in pairs if name == "result"]
    return found
