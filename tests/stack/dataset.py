"""One set of requests that every system is loaded with, so that one indicator must have one value everywhere.

Each series counts, every ten seconds, how many requests ended in that interval (end included). As a cumulative counter
one series restarts once: what it grew by stays what the intervals say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from sretoolkit.metrics.sli import SLI

METRIC = "requests"
EVERY = 10
COUNT = 120
WINDOW = timedelta(minutes=10)
ERRORS = SLI.error_ratio("errors", bad=f'{METRIC}{{code=~"5.."}}', total=METRIC, by=["service"], window=WINDOW)


class Point(NamedTuple):
    """One sample: epoch seconds, the requests of its interval, and the cumulative counter."""

    time: int
    delta: int
    total: int


@dataclass(frozen=True)
class Dataset:
    """Twenty minutes of requests that end at ``end`` (epoch seconds, a multiple of ten)."""

    end: int

    @classmethod
    def recent(cls) -> Dataset:
        """Ended a minute ago, so that systems that keep little still have all of it."""
        return cls((int(datetime.now(UTC).timestamp()) - 60) // 60 * 60)

    @property
    def moment(self) -> datetime:
        """The end."""
        return datetime.fromtimestamp(self.end, UTC)

    @cached_property
    def series(self) -> dict[tuple[str, str, str], list[Point]]:
        """The points of each (service, code, host), oldest first."""
        return {
            (service, code, host): list(self._points(f"{service}/{code}/{host}"))
            for service in ("web", "api")
            for code in ("200", "404", "500", "503")
            for host in ("h1", "h2")
        }

    def labelled(self) -> Iterator[tuple[dict[str, str], list[Point]]]:
        """The same with label names."""
        for (service, code, host), points in self.series.items():
            yield {"service": service, "code": code, "host": host}, points

    def exact(self, window: timedelta = WINDOW, end: int | None = None) -> Mapping[str, float]:
        """The error ratio of each service over (end - window, end], from whole numbers."""
        until = self.end if end is None else end
        begin = until - int(window.total_seconds())

        def count(service: str, wanted: Callable[[str], bool]) -> int:
            return sum(
                point.delta
                for (name, code, _), points in self.series.items()
                if name == service and wanted(code)
                for point in points
                if begin < point.time <= until
            )

        return {name: count(name, lambda code: code[0] == "5") / count(name, bool) for name in ("api", "web")}

    def _points(self, name: str) -> Iterator[Point]:
        chance = random.Random(name)
        rate = {"2": 400, "4": 30, "5": 9}[name.split("/")[1][0]]
        total = chance.randrange(1000)
        for number in range(COUNT):
            delta = chance.randrange(rate + 1)
            restarted = name == "web/500/h1" and number == COUNT - 20
            total = delta if restarted else total + delta
            yield Point(self.end - (COUNT - 1 - number) * EVERY, delta, total)
