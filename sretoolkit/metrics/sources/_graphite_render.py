"""What goes over the wire to a Graphite: renders, and what it says when something is wrong.

``maxDataPoints`` is never sent: Graphite would put points together by their average, counts included. Nor is
``noNullPoints``, which Graphite takes as set whatever its value.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any

from sretoolkit.clock import Clock
from sretoolkit.errors import QueryError, SourceUnavailable
from sretoolkit.http.client import Answer
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.windows import Samples
from sretoolkit.metrics.wire import Wire

_HEAD = re.compile(r"(?P<name>.*),(?P<start>\d+),(?P<end>\d+),(?P<step>\d+)\|[^|]*", re.S)
_MARKUP = re.compile(r"<[^>]*>")
# what Graphite's own code raises over a question; a lock or a lost back end is none of these
_OF_THE_QUERY = re.compile(r"\b(ValueError|TypeError|KeyError|IndexError|AttributeError|re\.error|\w*ParseException): ")
_DECODER = JSONDecoder()


@dataclass(frozen=True)
class Series:
    """One series of an answer. ``step`` (seconds, 0 = unknown) lies between its points, ``begins`` is the first's time."""

    name: str
    tags: Mapping[str, str]
    samples: Samples
    step: int
    begins: int


class Renderer:
    """Asks one Graphite for points. All times are whole seconds, all windows (start, end]."""

    def __init__(self, endpoint: Endpoint, clock: Clock) -> None:
        self.wire = Wire(endpoint, product="Graphite", said=_said, clock=clock)

    def points(self, target: str, start: int, end: int, query: str) -> list[Series]:
        """Every point as the archive keeps it; raises `QueryError` with the server's words."""
        answer = self._ask([target], start, end, "json", query)
        try:
            return [_series(one, start, end) for one in _elements(answer.text)]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self.wire.foreign(answer, query)

    def steps(self, targets: Sequence[str], at: int, query: str) -> list[tuple[str, int]]:
        """The series there are at a moment, each with the seconds between its points; a look that costs little."""
        answer = self._ask(targets, at, at + 1, "raw", query)
        lines = [line for line in answer.text.split("\n") if line]
        heads = [_HEAD.fullmatch(line) for line in lines]
        if answer.kind != "text/plain" or not all(heads):
            self.wire.foreign(answer, query)
        return [(head["name"], int(head["step"])) for head in heads if head]

    def ask(self, method: str, path: str, query: str = "", **options: Any) -> Answer:
        """One request; a page that shows where Graphite's code gave up over the question is a `QueryError`."""
        try:
            return self.wire.ask(method, path, query=query, **options)
        except SourceUnavailable as error:
            if not _OF_THE_QUERY.search(error.message):
                raise
            hint = f"mend the query: {query}" if query else "is a tag expression in the configuration wrong?"
            raise QueryError(error.message, source=error.source, query=query, hint=hint) from error

    def json(self, path: str, query: str = "", params: Any = None) -> Any:
        """The JSON at a path."""
        answer = self.ask("GET", path, query, params=params)
        try:
            return answer.json()
        except ValueError:
            self.wire.foreign(answer, query)

    def _ask(self, targets: Sequence[str], start: int, end: int, form: str, query: str) -> Answer:
        asked = [("target", target) for target in targets]
        given = [*asked, ("from", start), ("until", max(end, start + 1)), ("format", form), ("noCache", "true")]
        return self.ask("POST", "/render", query, form=given, repeatable=True)


def native(target: str, start: int, end: int) -> str:
    """The question as it goes over the wire."""
    return f"/render?target={target}&from={start}&until={end}&format=json"


def _elements(text: str) -> Iterator[dict[str, Any]]:
    """The series of an answer one by one, so that only one is in memory as objects."""
    text = text.strip()
    at, end = 1, len(text) - 1
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("no list")
    while True:
        while at < end and text[at] in " \t\r\n,":
            at += 1
        if at >= end:
            return
        element, at = _DECODER.raw_decode(text, at)
        yield element


def _series(found: dict[str, Any], start: int, end: int) -> Series:
    points, name = found["datapoints"], found["target"]
    tags = found.get("tags") or {}
    if not isinstance(name, str) or not isinstance(tags, dict):
        raise TypeError("no series")
    times = [int(time) for _, time in points]
    step = times[1] - times[0] if len(times) > 1 else 0
    inside = [(time * 1000, value) for value, time in points if start < time <= end and value is not None]
    samples = Samples.of({}, (time for time, _ in inside), (float(value) for _, value in inside))
    return Series(
        name, {str(tag): str(value) for tag, value in tags.items()}, samples, step, times[0] if times else end
    )


def _said(answer: Answer) -> str:
    """Graphite's words: a line of text, an error in JSON, or the last line of the page that shows where it failed."""
    if answer.kind == "application/json":
        try:
            body = answer.json()
        except ValueError:
            return ""
        return str(body["error"]) if isinstance(body, dict) and "error" in body else ""
    before, trace, _ = answer.text.rpartition("</pre>")
    if trace:
        lines = [line.strip() for line in _MARKUP.sub("", before).splitlines() if line.strip()]
        return html.unescape(lines[-1]) if lines else ""
    return html.unescape(answer.text.strip()) if answer.status == 400 and "<" not in answer.text else ""
