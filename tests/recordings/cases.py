"""Recorded cases: what was asked, what the system answered, what must come of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sretoolkit.clock import FakeClock, parse_duration
from sretoolkit.metrics import SeriesFrame, connect
from sretoolkit.report import Report
from tests.stack.replay import Exchange

SOURCES = Path(__file__).parent / "sources"


@dataclass(frozen=True)
class Case:
    """One recording."""

    kind: str
    name: str
    now: float
    call: dict[str, Any]
    expected: dict[str, Any]
    exchanges: list[Exchange]

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    def answer(self, url: str) -> Report | SeriesFrame:
        """Ask again what was asked then, at the time it was then."""
        return ask(f"{self.kind}+{url}", self.call, FakeClock(datetime.fromtimestamp(self.now, UTC)))

    def check(self, answer: Report | SeriesFrame) -> None:
        """Compare with what must come of it."""
        if isinstance(answer, Report):
            assert self.expected["worst"] == answer.worst
            assert self.expected["facts"].items() <= answer.to_dict()["facts"].items()
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


def ask(source: str, call: dict[str, Any], clock: FakeClock) -> Report | SeriesFrame:
    """Do what a recording says."""
    end = datetime.fromtimestamp(call["end"], UTC) if "end" in call else None
    with connect(source, clock=clock) as opened:
        if call["verb"] == "health":
            return opened.health()
        if call["verb"] == "instant":
            return opened.instant(call["query"], at=end)
        window, step = (parse_duration(call[name]) for name in ("window", "step"))
        return opened.range(call["query"], window=window, step=step, end=end)


def _number(cell: float | str | None) -> float:
    return math.nan if cell is None else float(cell)
