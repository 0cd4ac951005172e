"""How ``sources/prometheus/*.json`` were made: ``python -m tests.recordings.record_prometheus``.

The server is real, its history is ours, so ``expected`` is worked out here from the history, never from the answer.
"""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from typing import Any

from sretoolkit.clock import FakeClock, poll
from sretoolkit.errors import SREToolkitError
from sretoolkit.metrics import connect
from sretoolkit.metrics.sources import prometheus
from tests.recordings.cases import SOURCES, ask
from tests.stack.prometheus import Prometheus
from tests.stack.replay import Exchange, record

FOLDER = SOURCES / "prometheus"
START, EVERY, COUNT = 1_700_000_000, 15, 240
LOOKBACK = 300
HOSTILE = '<script>alert("1")</script>\\ \n\x1b[31m'


def orders(shop: str, number: int) -> float | None:
    """The counter of each shop; shop b was not seen for a quarter of an hour."""
    return None if shop == "b" and 60 <= number < 120 else (1 if shop == "a" else 2) * 10.0 * number


def at(shop: str, time: int) -> float | None:
    """What a query sees at a moment: the newest sample of the last five minutes. Samples lie 7 s beside the grid."""
    for number in range((time - START - 7) // EVERY, -1, -1):
        if START + 7 + number * EVERY <= time - LOOKBACK:
            return None
        if number < COUNT and (value := orders(shop, number)) is not None:
            return value
    return None


def history() -> str:
    """What the server remembers, as OpenMetrics text."""
    lines = ["# TYPE shop_orders counter"]
    for shop in "ab":
        seen = [(number, orders(shop, number)) for number in range(COUNT)]
        pairs = [f"{value} {START + 7 + number * EVERY}" for number, value in seen if value is not None]
        lines += [f'shop_orders_total{{shop="{shop}"}} {pair}' for pair in pairs]
    lines.append("# TYPE odd gauge")
    lines += [
        f'odd{{kind="{kind}"}} {value} {START + 7}'
        for kind, value in (("nan", "NaN"), ("plus", "+Inf"), ("minus", "-Inf"), ("one", "1"))
    ]
    lines.append("# TYPE hostile_bytes gauge")
    name = HOSTILE.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    lines += [f'hostile_bytes{{name="{name}"}} 1048576 {START + 7}', "# EOF", ""]
    return "\n".join(lines)


def grid(window: int, step: int, end: int) -> list[int]:
    """The moments of a range, in seconds."""
    return [end - back * step for back in range(window // step, -1, -1)]


def ranged(query: str, shops: str, window: int, step: int, *, most: int = 0) -> dict[str, Any]:
    """A range of order counts and what it must give."""
    end = START + 3600
    values = [[at(shop, time) for shop in shops] for time in grid(window, step, end)]
    call = {"verb": "range", "query": query, "window": f"{window}s", "step": f"{step}s", "end": end, "most": most}
    labels = [{"__name__": "shop_orders_total", "shop": shop} for shop in shops]
    first = grid(window, step, end)[0] * 1000
    return {"call": call, "expected": {"first": first, "values": values, "labels": labels, "kind": "cumulative"}}


def instant(query: str, expected: dict[str, Any], moment: int = START + 60) -> dict[str, Any]:
    """One moment and what it must give."""
    return {
        "call": {"verb": "instant", "query": query, "end": moment},
        "expected": {"first": moment * 1000, **expected},
    }


def failing(query: str, error: str, says: str, *, verb: str = "range") -> dict[str, Any]:
    """A question that must be refused, by whom and in which words."""
    call = {"verb": verb, "query": query, "window": "60s", "step": "15s", "end": START + 60}
    return {"call": call, "expected": {"error": error, "says": says}}


CASES: dict[str, dict[str, Any]] = {
    "range": ranged("shop_orders_total", "ab", 600, 60),
    "range-with-gap": ranged("shop_orders_total", "ab", 3600, 120),
    "range-in-pieces": ranged("shop_orders_total", "ab", 3600, 60, most=25),
    "range-no-data": failing("no_such_metric", "NoData", "no data for no_such_metric"),
    "range-parse-error": failing("sum(up", "QueryError", "parse error: unclosed left parenthesis"),
    "range-matching-error": failing("odd / on() odd", "QueryError", "many-to-many matching not allowed"),
    "instant": instant(
        "shop_orders_total",
        {
            "values": [[at("a", START + 60), at("b", START + 60)]],
            "kind": "cumulative",
            "labels": [{"__name__": "shop_orders_total", "shop": shop} for shop in "ab"],
        },
    ),
    "instant-odd-numbers": instant(
        "odd",
        {
            "values": [["-inf", None, 1.0, "inf"]],
            "labels": [{"__name__": "odd", "kind": kind} for kind in ("minus", "nan", "one", "plus")],
            "warnings": ["1 samples are NaN (as of 0/0) and count as missing"],
        },
    ),
    "instant-hostile-label": instant(
        "hostile_bytes",
        {"values": [[1048576.0]], "labels": [{"__name__": "hostile_bytes", "name": HOSTILE}], "unit": "B"},
    ),
    "instant-scalar": instant("scalar(odd{kind='one'}) + 41", {"values": [[42.0]], "labels": [{}]}),
    "instant-only-nan": failing("0/0", "NoData", "only NaN for 0/0", verb="instant"),
    "instant-string": failing("'text'", "QueryError", "the query gives a string", verb="instant"),
    "instant-range-selector": failing("odd[1m]", "QueryError", "a range has no value at one moment", verb="instant"),
    "health": {
        "call": {"verb": "health"},
        "expected": {"worst": "medium", "facts": {"targets": "2 of 3 up", "retention": "20y"}},
    },
}


def main() -> None:
    """Record every case anew."""
    host = socket.gethostname()
    with Prometheus(openmetrics=history()) as server:

        def clean(text: str) -> str:
            return text.replace(str(server.folder), "/srv").replace(host, "monitor.example")

        with connect(server.source) as opened:
            assert poll(lambda: {target["health"] for target in opened.targets()} == {"up", "down"}, timeout=20)  # type: ignore[attr-defined]
        for name, case in CASES.items():
            exchanges: list[Exchange] = []
            now = datetime.now(UTC)
            prometheus.MOST_POINTS = case["call"].get("most") or 11_000
            with record(server.url, exchanges, clean) as url:
                try:
                    ask(f"prometheus+{url}", case["call"], FakeClock(now))
                except SREToolkitError as error:
                    print(name, error)
            content = {"now": now.timestamp(), **case, "exchanges": exchanges}
            (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
