"""Recorded cases: what was asked, what the system answered, what must come of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sretoolkit.clock import FakeClock, parse_duration
from sretoolkit.config import Config
from sretoolkit.metrics import SeriesFrame, connect
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.states import CheckState, Perfdata
from sretoolkit.report import Report
from tests.stack import riemann
from tests.stack.local import written
from tests.stack.replay import replay

SOURCES = Path(__file__).parent / "sources"
TRANSPORTS: dict[str, Callable[[list[Any], float], AbstractContextManager[str]]] = {
    "http": replay,
    "file": lambda contents, now: written(contents),
    "tcp": lambda exchanges, now: riemann.replay(exchanges),
}


@dataclass(frozen=True)
class Case:
    """One recording."""

    kind: str
    name: str
    now: float
    call: dict[str, Any]
    expected: dict[str, Any]
    exchanges: list[Any]
    options: dict[str, Any] = field(default_factory=dict)
    transport: str = "http"
    source: str = ""

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    def answer(self, url: str) -> Any:
        """Ask again what was asked then, at the time it was then."""
        config = Config.of(sources={"recorded": {"kind": self.kind, "url": url, **self.options}})
        return ask("recorded", self.call, FakeClock(datetime.fromtimestamp(self.now, UTC)), config)

    @contextmanager
    def server(self) -> Iterator[str]:
        """What answers as the system did then; yields its URL."""
        with TRANSPORTS[self.transport](self.exchanges, self.now) as url:
            yield url

    def check(self, answer: Any) -> None:
        """Compare with what must come of it."""
        if isinstance(answer, Report):
            assert self.expected["worst"] == answer.worst
            assert self.expected["facts"].items() <= answer.to_dict()["facts"].items()
            return
        if not isinstance(answer, SeriesFrame):
            assert self.expected["answer"] == plain_data(answer)
            return
        interval = answer.interval // timedelta(milliseconds=1)
        rows = range(len(self.expected["values"]))
        assert [self.expected["first"] + row * interval for row in rows] == answer.times.tolist()
        expected = [[_number(cell) for cell in row] for row in self.expected["values"]]
        np.testing.assert_array_equal(np.array(expected), answer.values)
        assert self.expected["labels"] == answer.labels
        assert self.expected.get("unit", "") == answer.unit
        assert self.expected.get("kind", "gauge") == answer.kind
        assert self.expected.get("warnings", []) == answer.warnings


def cases(kind: str) -> list[Case]:
    """The recordings of one kind of source; none when it has no folder."""
    found = []
    for path in sorted((SOURCES / kind).glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found.append(Case(kind=kind, name=path.stem, **content))
    return found


def ask(source: str, call: dict[str, Any], clock: FakeClock, config: Config | None = None) -> Any:
    """Do what a recording says: ``verb`` names the method, the rest are its arguments."""
    end = datetime.fromtimestamp(call["end"], UTC) if "end" in call else None
    with connect(source, config, clock=clock) as opened:
        if call["verb"] in ("checks", "discover"):
            return getattr(opened, call["verb"])()
        if call["verb"] == "events":
            return opened.events(Window(moment(call["start"]), moment(call["end"])))
        if call["verb"] == "annotate":
            return opened.annotate(Event(**{**call["event"], "start": moment(call["event"]["start"])}))
        if call["verb"] in ("retract", "unsilence"):
            return getattr(opened, call["verb"])(call["id"])
        if call["verb"] in ("acknowledge", "unacknowledge", "silence"):
            check = CheckState(**call["check"])
            if call["verb"] == "unacknowledge":
                return opened.unacknowledge(check)
            if call["verb"] == "acknowledge":
                return opened.acknowledge(check, call["comment"])
            return opened.silence(check, Window(moment(call["start"]), moment(call["end"])), call["comment"])
        if call["verb"] == "health":
            return opened.health()
        if call["verb"] == "instant":
            return opened.instant(call["query"], at=end)
        window, step = (parse_duration(call[name]) for name in ("window", "step"))
        return opened.range(call["query"], window=window, step=step, end=end)


def plain_data(answer: Any) -> Any:
    """States, events and entities as the JSON of a recording: fields at their default are left out, times are ISO."""
    if is_dataclass(answer) and not isinstance(answer, type):
        given = {item.name: (getattr(answer, item.name), item.default) for item in fields(answer)}
        return {
            name: plain_data(value)
            for name, (value, default) in given.items()
            if value != default and value not in ((), {}, [])
        }
    if isinstance(answer, Perfdata):
        return [None if isinstance(part, float) and math.isnan(part) else part for part in answer]
    if isinstance(answer, datetime):
        return answer.isoformat()
    if isinstance(answer, list | tuple):
        return [plain_data(item) for item in answer]
    return dict(answer) if isinstance(answer, Mapping) else answer


def moment(seconds: float) -> datetime:
    """A time of a recording."""
    return datetime.fromtimestamp(seconds, UTC)


def _number(cell: float | str | None) -> float:
    return math.nan if cell is None else float(cell)
