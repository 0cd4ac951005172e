"""What goes over the wire to Icinga 2's API, and what its one answer for three different failures means.

A broken filter, a missing permission and a name that is not there are all HTTP 404 "No objects found."; no match is 200
with an empty list. Every request asks for the diagnosis (``verbose``), which tells them apart; a server that gives none is
asked for the login's permissions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from sretoolkit.errors import NoData, QueryError, SourceError
from sretoolkit.http.client import Answer
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import plain

_NOTHING = "No objects found."
_ABSENT = "does not exist"
_FORBIDDEN = "Missing permission"
Result = Mapping[str, Any]


class API:
    """The API of one Icinga 2."""

    def __init__(self, source: MetricSource) -> None:
        self.source = source
        self.wire = Wire(source.endpoint, product="Icinga 2", said=_said, clock=source.clock)

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()

    def about(self) -> Result:
        """The version, our login's name and its permissions."""
        results = self._results("GET", "/v1")
        return results[0] if results else {}

    def status(self, page: str) -> Result:
        """One page of the status, as ``CIB``."""
        results = self._results("GET", f"/v1/status/{page}", needs="status/query")
        found = results[0].get("status") if results else None
        return found if isinstance(found, dict) else {}

    def objects(
        self, kind: str, attrs: Sequence[str], *, where: str = "", names: Mapping[str, str] | None = None, asked: str = "",
        joins: Sequence[str] = (),
    ) -> list[Result]:  # fmt: skip
        """The attributes of all objects of a kind (``hosts``) that a filter selects; ``names`` are the filter's variables."""
        body: dict[str, Any] = {"attrs": list(attrs), "joins": list(joins), "verbose": True}
        if where:
            body |= {"filter": where, "filter_vars": dict(names or {})}
        needs = f"objects/query/{kind.removesuffix('s').capitalize()}"
        headers = {"X-HTTP-Method-Override": "GET"}
        results = self._results(
            "POST",
            f"/v1/objects/{kind}",
            json=body,
            headers=headers,
            repeatable=True,
            asked=asked,
            needs=needs,
            where=where,
        )
        return [
            {**one.get("attrs", {}), **{f"joined {k}": v for k, v in one.get("joins", {}).items()}} for one in results
        ]

    def there(self, kind: str, name: str) -> bool:
        """Whether a comment or downtime of exactly this name exists and may be seen."""
        where = f"{kind.removesuffix('s')}.__name == wanted"
        return bool(self.objects(kind, ["name"], where=where, names={"wanted": name}))

    def act(self, action: str, **given: Any) -> Result:
        """Do something to one object; raises `NoData` when it is not there, `QueryError` when it cannot be done to it."""
        body = {**given, "verbose": True}
        results = self._results("POST", f"/v1/actions/{action}", json=body, needs=f"actions/{action}")
        code = results[0].get("code", 0) if results else 0
        if not 200 <= code < 300:
            words = plain(results[0].get("status", "")) if results else "nothing was done"
            raise QueryError(
                f"{self.source.name}: {words}", source=self.source.name, hint="is it still as it was seen?"
            )
        return results[0]

    def stream(self, types: Sequence[str], seconds: float) -> Iterator[bytes]:
        """The lines of the event stream, for so many seconds; a refused stream says nothing, so we ask before."""
        for one in types:
            if not self._may(f"events/{one}"):
                text = f"{self.source.name} refused us: Missing permission: events/{one}"
                raise SourceError(text, source=self.source.name, hint='give this ApiUser the permission "events/*"')
        queue = f"sretoolkit-{id(self):x}-{self.source.clock.now().timestamp():.6f}"
        body = {"queue": queue, "types": list(types), "verbose": True}
        headers = {"Accept": "application/json"}
        with self.wire.stream("POST", "/v1/events", json=body, headers=headers, timeout=seconds) as lines:
            yield from lines

    def _results(
        self, method: str, path: str, *, asked: str = "", needs: str = "", where: str = "",
        headers: Mapping[str, str] | None = None, **options: Any,
    ) -> list[Result]:  # fmt: skip
        accept = {"Accept": "application/json", **(headers or {})}
        try:
            body = self.wire.json(method, path, query=asked, headers=accept, **options)
        except QueryError as error:
            self._explain(error, asked, needs, where)
        results = body.get("results") if isinstance(body, dict) else None
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise SourceError(
                f"{self.source.name} answered with JSON that is not Icinga 2's",
                source=self.source.name, query=asked, hint="does url lead to the API (port 5665)?",
            )  # fmt: skip
        return results

    def _explain(self, error: QueryError, asked: str, needs: str, where: str) -> NoReturn:
        """Say which of the three "No objects found." means."""
        name, words = self.source.name, error.message.removeprefix(f"{self.source.name}: ")
        if not words.startswith(_NOTHING):
            raise error
        told = words.removeprefix(_NOTHING).strip()
        if _FORBIDDEN in told or (not told and needs and not self._may(needs)):
            hint = f'give this ApiUser the permission "{needs}"'
            raise SourceError(
                f"{name} refused us: {told or f'no {needs}'}", source=name, query=asked, hint=hint
            ) from error
        if _ABSENT in told or not where:
            text = f"{name}: there is no such object"
            raise NoData(text, source=name, query=asked, hint="is the name right? a login sees only its own") from error
        text = f"{name}: the filter is broken: {told or where}"
        hint = f"the option filter must fit hosts and services alike: {where}"
        raise QueryError(text, source=name, query=asked, hint=hint) from error

    def _may(self, needed: str) -> bool:
        granted = [str(one).removesuffix(" (filtered)").lower() for one in self.about().get("permissions") or ()]
        return any(fnmatchcase(needed.lower(), one) for one in granted)


def moment(seconds: Any) -> datetime | None:
    """A time of an answer; 0 and -1 mean never."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _said(answer: Answer) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    results = body.get("results")
    if isinstance(results, list) and results and isinstance(results[0], dict):
        return str(results[0].get("status", ""))
    told = str(body.get("diagnostic_information", "")).partition("Stacktrace:")[0].replace("Error: ", "").split()
    return " ".join([str(body.get("status", "")), *told]).strip()
