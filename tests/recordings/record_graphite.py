"""How ``sources/graphite/*.json`` were made: ``python -m tests.recordings.record_graphite``.

The server is real, its points are ours, so ``expected`` is worked out here from what was written.
"""

from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime
from typing import Any

from sretoolkit.clock import FakeClock, poll
from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.metrics import connect
from tests.recordings.cases import SOURCES, ask
from tests.stack.graphite import Graphite
from tests.stack.replay import Exchange, record

FOLDER = SOURCES / "graphite"
ORIGIN = "recorded from Graphite 1.1.8 (graphite-web, carbon-cache, whisper)"
PATH = {"path": "web.{host}.requests.{code}"}


def cases(end: int) -> dict[str, dict[str, Any]]:
    """Every case, for points that end at ``end``."""

    def ranged(
        query: str, values: list[list[float | None]], labels: list[dict[str, str]], **more: Any
    ) -> dict[str, Any]:
        call = {"verb": "range", "query": query, "window": "30s", "step": more.pop("step", "10s"), "end": end}
        first = (end - 30) * 1000
        expected = {"first": first, "values": values, "labels": labels, "warnings": more.pop("warnings", [])}
        return {"call": call, "expected": expected, **more}

    def failing(query: str, error: str, says: str, verb: str = "range") -> dict[str, Any]:
        call = {"verb": verb, "query": query, "window": "30s", "step": "10s", "end": end}
        return {"call": call, "expected": {"error": error, "says": says}}

    when = datetime.fromtimestamp(end, UTC).isoformat()
    until = datetime.fromtimestamp(end + 60, UTC).isoformat()
    event = {"start": end, "title": "deploy 1.2", "text": "by night", "tags": ["deploy", "web"]}
    read = {"title": "deploy 1.2", "text": "by night", "tags": ["deploy", "web"], "start": when, "source": "recorded"}
    web = [{"__name__": f"web.{host}.requests.200", "host": host, "code": "200"} for host in ("h1", "h2")]
    retract = {
        "call": {"verb": "retract", "id": "7"},
        "expected": {"error": "NotExpressible", "says": "not delete them"},
    }
    return {
        "range": ranged("web.*.requests.200", [[1, 2], [2, 4], [None, 6], [4, 8]], web, options=PATH),
        "range-tagged": ranged(
            'seriesByTag("name=odd")', [[None], [None], [None], [1]], [{"__name__": "odd", "v": 'a"b,)'}]
        ),
        "range-of-one-name": ranged(
            'alias(web.*.requests.200,"all")',
            [[1, 2], [2, 4], [None, 6], [4, 8]],
            [{"__name__": "all"}, {"__name__": "all", "series": "2"}],
            warnings=["several series have one name (alias): the label series numbers them"],
        ),
        "range-no-data": failing("no.such", "NoData", "no data for no.such"),
        "range-unknown-function": failing("nosuch(web.h1)", "QueryError", "unknown function: nosuch"),
        "range-cut-short": failing("sumSeries(web.*.requests.200", "QueryError", "a parenthesis is not closed"),
        "range-bad-expression": failing('seriesByTag("v!=a")', "QueryError", "At least one tagspec must not match"),
        "instant": {
            "call": {"verb": "instant", "query": "web.h1.requests.200", "end": end + 7},
            "expected": {
                "first": (end + 7) * 1000, "values": [[4.0]], "labels": [{"__name__": "web.h1.requests.200"}]
            },
        },
        "annotate": {"call": {"verb": "annotate", "event": event}, "expected": {"answer": "1"}},
        "events": {
            "call": {"verb": "events", "start": end - 60, "end": end + 60},
            "expected": {"answer": [{**read, "id": "1"}, {**read, "text": "x", "end": until, "id": "2"}]},
        },
        "retract": retract,
        "discover": {
            "call": {"verb": "discover"},
            "options": PATH,
            "expected": {
                "answer": [
                    {"name": "h1", "labels": {"code": "200"}, "source": "recorded"},
                    {"name": "h2", "labels": {"code": "200"}, "source": "recorded"},
                    {"name": "h3", "labels": {"dc": "eu"}, "services": ["disk.used", "load"], "source": "recorded"},
                ]
            },
        },
        "health": {"call": {"verb": "health"}, "expected": {"worst": None, "facts": {"version": "1.1.8"}}},
    }  # fmt: skip


def points(end: int) -> list[tuple[str, float, int]]:
    """What is written; one point of h1 is missing."""
    seen = [
        (f"web.h{host}.requests.200", float(host * (number + 1)), end - 30 + 10 * number)
        for host in (1, 2)
        for number in range(4)
        if (host, number) != (1, 2)
    ]
    return [
        *seen,
        ('odd;v=a"b,)', 1.0, end),
        ("load;host=h3;dc=eu;core=1", 1.0, end),
        ("disk.used;host=h3;dc=eu", 2.0, end),
    ]


def main() -> None:
    """Record every case anew."""
    machine = socket.gethostname()

    def clean(text: str) -> str:
        text = text.replace(machine, "monitor")
        return re.sub(r"(Traceback \(most recent call last\):\n).*\n(?=\w+Error: )", r"\1", text, flags=re.S)

    with Graphite() as server:
        end = int(datetime.now(UTC).timestamp()) // 10 * 10 - 30
        server.write(points(end))

        def readable() -> bool:
            with connect(server.source) as source:
                health = source.health()
                hosts = [one.name for one in source.discover()]
            tree = server.ask(f"/render?target=web.*.requests.200&format=json&from={end - 60}&until={end}")
            told = sum(value is not None for one in tree for value, _ in one["datapoints"])
            return "newest point" in health.facts and hosts == ["h3"] and told == 7

        assert poll(readable, timeout=30, interval=0.5)
        for name, case in cases(end).items():
            exchanges: list[Exchange] = []
            now = datetime.now(UTC)
            with record(server.url, exchanges, clean) as url:
                config = Config.of(sources={"recorded": {"kind": "graphite", "url": url, **case.get("options", {})}})
                try:
                    ask("recorded", case["call"], FakeClock(now), config)
                except SREToolkitError as error:
                    print(name, error)
                if name == "annotate":
                    more = {**case["call"]["event"], "text": "x"}
                    ending = datetime.fromtimestamp(end + 60, UTC).isoformat()
                    body = {"what": more["title"], "tags": more["tags"], "data": f"x\n(until {ending})", "when": end}
                    server.post("/events/", body)
            content = {"now": now.timestamp(), **case, "source": ORIGIN, "exchanges": exchanges}
            (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
