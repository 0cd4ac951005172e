"""Which items a selector means, and their values: history by its true type, in pages, and hourly trends beyond it.

A selector is ``key{label="value"}``. The key is an item's whole key (``system.cpu.util[,idle]``), or its name without
parameters, which means all of them. Labels: ``host`` (technical name), ``key`` (the whole key), ``item`` (its visible
name), and every other label is a tag of the item; of a tag that is set several times, the values are joined by commas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from sretoolkit.errors import ConfigError, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.windows import Samples

if TYPE_CHECKING:
    from sretoolkit.metrics.sources._zabbix_api import API

HOUR = 3600
MOST_ROWS = 50_000  # a page; PHP at its default 128 MB breaks between 100,000 and 300,000
_FEWEST_ROWS = 500
_NUMBERS = {0: "float", 3: "unsigned"}
_PERIOD = re.compile(r"(\d+)([smhdw]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_RESERVED = ("host", "key", "item")
_DEFAULT_PERIOD = 31 * 86_400


@dataclass(frozen=True)
class Item:
    """One item that holds numbers. ``kept`` and ``trends`` are for how many seconds its values are kept."""

    id: str
    labels: dict[str, str]
    value_type: int
    kept: int
    trends: int
    unit: str


@dataclass(frozen=True)
class Read:
    """Samples, and where they are not of history: before ``cut`` (milliseconds; 0 = all history), with what that means."""

    samples: list[Samples]
    cut: int = 0
    warnings: tuple[str, ...] = ()


class Items:
    """The items of one Zabbix."""

    def __init__(self, api: API) -> None:
        self.api = api
        self.name = api.source.name
        self._global: dict[str, str] | None = None

    def selected(self, selector: Selector, asked: str) -> list[Item]:
        """The items that hold numbers; raises `QueryError` when only texts match."""
        found = self.api.read("item.get", _question(selector), asked=asked)
        pairs = [(one, labels_of(one)) for one in found]
        pairs = [
            (one, labels) for one, labels in pairs if _is_meant(selector, one["key_"]) and selector.accepts(labels)
        ]
        numbers = [self._item(one, labels) for one, labels in pairs if int(one["value_type"]) in _NUMBERS]
        if pairs and not numbers:
            text = f"{self.name}: {asked} holds texts, not numbers"
            hint = "select an item of type numeric, or add a dependent item that extracts the number"
            raise QueryError(text, source=self.name, query=asked, hint=hint)
        return sorted(numbers, key=lambda item: sorted(item.labels.items()))

    def read(
        self, items: Sequence[Item], start: int, end: int, asked: str, of_hour: Callable[[dict[str, str]], float]
    ) -> Read:
        """History in (start, end], and before what is kept of it the hours' trends, each as ``of_hour`` makes it."""
        now = self.api.source.clock.now().timestamp()
        old = [item for item in items if (now - item.kept) * 1000 > start]
        if not old:
            self._afford(self.count(items, start, end, asked), asked)
            return Read(self.history(items, start, end, asked))
        kept = max(now - item.kept for item in old)
        cut = min(-(-int(kept) // HOUR) * HOUR * 1000, end // 1000 // HOUR * HOUR * 1000)
        self._afford(len(items) * ((cut - start) // 1000 // HOUR) + self.count(items, cut, end, asked), asked)
        before, after = self.trends(items, start, cut, asked, of_hour), self.history(items, cut, end, asked)
        joined = [
            Samples(one.labels, np.append(one.times, two.times), np.append(one.values, two.values))
            for one, two in zip(before, after, strict=True)
        ]
        moment = datetime.fromtimestamp(cut / 1000, UTC)
        warnings = [f"history is not kept that long: before {moment:%Y-%m-%d %H:%M} UTC from hourly trends"]
        if any(item.value_type == 3 for item in old):
            warnings.append("the hourly averages of unsigned items are cut to whole numbers")
        if any((now - item.trends) * 1000 > start for item in old):
            warnings.append("trends are not kept that long either: the beginning is missing")
        if any(item.kept == 0 for item in old):
            warnings.append("an item keeps no history at all: its running hour is missing")
        return Read(joined, cut, tuple(warnings))

    def _afford(self, rows: int, asked: str) -> None:
        self.api.source.afford(rows, asked, instead="select fewer items, or ask for a shorter window")

    def count(self, items: Sequence[Item], start: int, end: int, asked: str) -> int:
        """How many values of history there are in (start, end] (milliseconds)."""
        total = 0
        for value_type, ids in _by_type(items):
            given = {"history": value_type, "itemids": ids, "countOutput": True, **_bounds(start, end)}
            total += int(self.api.read("history.get", given, asked=asked))
        return total

    def history(self, items: Sequence[Item], start: int, end: int, asked: str) -> list[Samples]:
        """The values of each item in (start, end] (milliseconds), by the type that the item really has."""
        rows: dict[str, tuple[list[int], list[float]]] = {item.id: ([], []) for item in items}
        for value_type, ids in _by_type(items):
            for row in self._pages(value_type, ids, start, end, asked):
                at = int(row["clock"]) * 1000 + int(row["ns"]) // 1_000_000
                if start < at <= end:
                    times, values = rows[row["itemid"]]
                    times.append(at)
                    values.append(float(row["value"]))
        return [Samples.of(item.labels, *rows[item.id]) for item in items]

    def trends(
        self, items: Sequence[Item], start: int, end: int, asked: str, value: Callable[[dict[str, str]], float]
    ) -> list[Samples]:
        """The whole hours within (start, end] (milliseconds), each at its end; ``value`` makes one number of a row."""
        rows: dict[str, tuple[list[int], list[float]]] = {item.id: ([], []) for item in items}
        first, last = -(-start // 1000 // HOUR) * HOUR, (end // 1000) // HOUR * HOUR - HOUR
        hours = max(1, MOST_ROWS // max(1, len(items)))
        ids = [item.id for item in items]
        for begin in range(first, last + 1, hours * HOUR):
            until = min(last, begin + (hours - 1) * HOUR)
            given = {"itemids": ids, "time_from": begin, "time_till": until, "output": _TREND}
            for row in self.api.read("trend.get", given, asked=asked):
                times, values = rows[row["itemid"]]
                times.append((int(row["clock"]) + HOUR) * 1000)
                values.append(value(row))
        return [Samples.of(item.labels, *rows[item.id]) for item in items]

    def _pages(self, value_type: int, ids: list[str], start: int, end: int, asked: str) -> Iterator[dict[str, str]]:
        """The rows in pages by time; a page that ends within a second begins the next one with that whole second."""
        begin, until, size = start // 1000, -(-end // 1000), MOST_ROWS
        while begin <= until:
            given = {
                "history": value_type, "itemids": ids, "time_from": begin, "time_till": until, "sortfield": "clock",
                "sortorder": "ASC", "limit": size, "output": ["itemid", "clock", "ns", "value"],
            }  # fmt: skip
            try:
                rows = self.api.read("history.get", given, asked=asked)
            except SourceUnavailable as error:
                if "HTTP 500" not in error.message or size <= _FEWEST_ROWS:
                    raise
                size //= 2  # out of PHP's memory
                continue
            if len(rows) < size:
                yield from rows
                return
            last = int(rows[-1]["clock"])
            if last == int(rows[0]["clock"]):
                half = len(ids) // 2
                if not half:
                    text = f"{self.name}: an item has more than {size} values in one second"
                    raise SourceError(text, source=self.name, query=asked, hint="leave that item out")
                for part in (ids[:half], ids[half:]):
                    yield from self._pages(value_type, part, begin * 1000, until * 1000, asked)
                return
            yield from (row for row in rows if int(row["clock"]) < last)
            begin = last

    def _item(self, one: dict[str, Any], labels: dict[str, str]) -> Item:
        kept, trends = (self._period(name, str(one.get(name, ""))) for name in ("history", "trends"))
        return Item(one["itemid"], labels, int(one["value_type"]), kept, trends, str(one.get("units", "")).lstrip("!"))

    def _period(self, what: str, own: str) -> int:
        """For how long values are kept: the server's rule for all, or the item's own; a macro counts as a month."""
        rules = self._housekeeping()
        text = rules.get(f"hk_{what}", "") if rules.get(f"hk_{what}_global") == "1" else own
        match = _PERIOD.fullmatch(text)
        return int(match[1]) * _UNITS[match[2]] if match else _DEFAULT_PERIOD

    def _housekeeping(self) -> dict[str, str]:
        if self._global is None:
            names = ["hk_history_global", "hk_history", "hk_trends_global", "hk_trends"]
            try:
                found = self.api.read("housekeeping.get", {"output": names})
            except SourceUnavailable:
                raise
            except SourceError:
                found = {}  # a right of the highest role alone
            self._global = found if isinstance(found, dict) else {}
        return self._global


_TREND = ["itemid", "clock", "num", "value_min", "value_avg", "value_max"]


def labels_of(one: dict[str, Any]) -> dict[str, str]:
    """The labels of an item as the API gives it."""
    labels: dict[str, str] = {}
    for tag in one.get("tags") or ():
        name = tag["tag"]
        labels[name] = f"{labels[name]},{tag['value']}" if name in labels else tag["value"]
    hosts = one.get("hosts") or [{}]
    return {**labels, "host": hosts[0].get("host", ""), "key": one["key_"], "item": one.get("name", "")}


def parse(api: API, query: str) -> Selector:
    """Read a query; raises `QueryError`."""
    try:
        return Selector.parse(query)
    except ConfigError as error:
        name = api.source.name
        hint = 'write key{host="h1", tag="value"}, as system.cpu.util[,idle]{host="h1"}'
        raise QueryError(f"{name}: {error.message}", source=name, query=query, hint=hint) from error


def _question(selector: Selector) -> dict[str, Any]:
    """``item.get`` for at least what is meant: what can be compared exactly is, the rest is sorted out here."""
    filters: dict[str, Any] = {"status": 0}
    tags = []
    for one in selector.matchers:
        if one.operator != "=" or not one.value:
            continue
        if one.label == "host":
            filters["host"] = [one.value]
        elif one.label not in _RESERVED and "," not in one.value:
            tags.append({"tag": one.label, "value": one.value, "operator": 1})
    found: dict[str, Any] = {
        "output": ["itemid", "key_", "name", "value_type", "history", "trends", "units"], "selectTags": ["tag", "value"],
        "selectHosts": ["host"], "templated": False, "filter": filters, "tags": tags, "evaltype": 0,
    }  # fmt: skip
    if "[" in selector.metric:
        filters["key_"] = [selector.metric]
    else:
        found |= {"search": {"key_": selector.metric}, "startSearch": True}
    return found


def _is_meant(selector: Selector, key: str) -> bool:
    return selector.metric in (key, key.partition("[")[0])


def _by_type(items: Sequence[Item]) -> Iterator[tuple[int, list[str]]]:
    for value_type in sorted({item.value_type for item in items}):
        yield value_type, [item.id for item in items if item.value_type == value_type]


def _bounds(start: int, end: int) -> dict[str, int]:
    return {"time_from": start // 1000, "time_till": -(-end // 1000)}
