"""How ``sources/elastic/*.json`` were made: ``python -m tests.recordings.record_elastic``.

The server is real, its documents are ours, so ``expected`` is worked out here from what was written. The cases that
begin with ``elasticsearch`` are the same ones as Elasticsearch itself would be asked: its answers to ``/`` and to
``_pit`` stand there as its specification has them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sretoolkit.clock import FakeClock
from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.metrics.sources import elastic as plug_in
from tests.recordings.cases import SOURCES, ask
from tests.stack.elastic import Elastic
from tests.stack.replay import Exchange, record

FOLDER = SOURCES / "elastic"
ORIGIN = "recorded from osmem-server 0.1.6, which speaks OpenSearch 3.8's API"
SPECIFIED = (
    "as before, with / and _pit as in elastic/elasticsearch-specification@9d9b9a521cc1070c1c9eb6c77d91c3a5fb09730d"
)
MAPPING = {
    "properties": {
        "@timestamp": {"type": "date"}, "service": {"type": "keyword"}, "status": {"type": "integer"},
        "latency": {"type": "double"}, "host": {"properties": {"name": {"type": "keyword"}, "ip": {"type": "ip"}}},
    }
}  # fmt: skip
OPTIONS = {"index": "logs-*", "events_index": "deploys"}


def documents(end: int) -> list[dict[str, Any]]:
    """Six requests of two services, one a quarter of a minute; nothing came in the second minute."""
    return [
        {
            "@timestamp": at * 1000, "service": service, "status": status, "latency": latency,
            "host": {"name": f"{service}-1", "ip": "192.0.2.1" if service == "api" else "192.0.2.2"},
        }
        for at, service, status, latency in (
            (end - 165, "web", 200, 0.5), (end - 150, "api", 503, 1.5), (end - 135, "web", 503, 0.25),
            (end - 30, "web", 200, 1.0), (end - 15, "api", 200, 2.0), (end, "api", 404, 4.0),
        )
    ]  # fmt: skip


def cases(end: int, marker: str) -> dict[str, dict[str, Any]]:
    """Every case, for documents that end at ``end``; ``marker`` is the id of the one event."""

    def ranged(
        query: str, values: list[list[float | None]], labels: list[dict[str, str]], **more: Any
    ) -> dict[str, Any]:
        call = {"verb": "range", "query": query, "window": "2m", "step": "1m", "end": end, "most": more.pop("most", 0)}
        return {"call": call, "expected": {"first": (end - 120) * 1000, "values": values, "labels": labels, **more}}

    def failing(query: str, error: str, says: str) -> dict[str, Any]:
        call = {"verb": "range", "query": query, "window": "2m", "step": "1m", "end": end}
        return {"call": call, "expected": {"error": error, "says": says}}

    most = '{"aggs": {"service": {"terms": {"field": "service"}, "aggs": {"t": {"date_histogram": {"field": "@timestamp"}, '
    most += '"aggs": {"slowest": {"max": {"field": "latency"}}}}}}}}'
    cut = '{"aggs": {"service": {"terms": {"field": "service", "size": 1}, '
    cut += '"aggs": {"t": {"date_histogram": {"field": "@timestamp"}}}}}}'
    slowest = [{"__name__": "slowest", "service": name} for name in ("api", "web")]
    event = {"start": end, "title": "deploy 1.2", "text": "by night", "tags": ["deploy", "web"]}
    when = datetime.fromtimestamp(end, UTC).isoformat()
    read = {"start": when, "title": "deploy 1.2", "text": "by night", "tags": ["deploy", "web"], "source": "recorded"}
    hosts = [
        {"name": f"{name}-1", "address": address, "services": [name], "source": "recorded"}
        for name, address in (("api", "192.0.2.1"), ("web", "192.0.2.2"))
    ]
    events = {
        "call": {"verb": "events", "start": end - 60, "end": end + 60},
        "expected": {"answer": [{**read, "id": f"deploys/{marker}"}]},
    }
    return {
        "range": ranged("status:503", [[2], [None], [0]], [{}], kind="delta"),
        "range-in-pieces": ranged("status:503", [[2], [None], [0]], [{}], kind="delta", most=2),
        "range-json": ranged(most, [[1.5, 0.5], [None, None], [4.0, 1.0]], slowest),
        "range-groups-cut-off": ranged(
            cut, [[1], [None], [2]], [{"__name__": "doc_count", "service": "api"}],
            warnings=["3 documents are in groups beyond the size of service"],
        ),
        "range-no-data": failing("status:599", "NoData", "none that match status:599"),
        "range-parse-error": failing("status:(", "QueryError", "Failed to parse query [status:(]"),
        "range-json-error": failing('{"aggs": ', "QueryError", "it is no JSON"),
        "instant": {
            "call": {"verb": "instant", "query": "service:api", "end": end},
            "expected": {"first": end * 1000, "values": [[2.0]], "labels": [{}], "kind": "delta"},
        },
        "annotate": {"call": {"verb": "annotate", "event": event}, "expected": {"answer": ""}},
        "events": events,
        "elasticsearch-events": events,
        "retract": {"call": {"verb": "retract", "id": f"deploys/{marker}"}, "expected": {"answer": None}},
        "discover": {"call": {"verb": "discover"}, "expected": {"answer": hosts}},
        "health": {
            "call": {"verb": "health"},
            "expected": {"worst": "low", "facts": {"version": "3.8.0", "product": "OpenSearch"}},
        },
    }  # fmt: skip


def as_elasticsearch(exchanges: list[Exchange]) -> None:
    """Put its own paths and answers in the place of OpenSearch's."""
    for exchange in exchanges:
        asked, answer = exchange["request"], exchange["response"]
        if asked["path"] == "/":
            version = {key: answer["json"]["version"][key] for key in ("build_date", "build_hash", "lucene_version")}
            answer["json"]["version"] = {"number": "9.2.0", "build_flavor": "default", **version}
            answer["json"]["tagline"] = "You Know, for Search"
        elif asked["path"].endswith("/_search/point_in_time") and asked["method"] == "POST":
            asked["path"] = asked["path"].replace("_search/point_in_time", "_pit")
            answer["json"] = {"id": answer["json"]["pit_id"], "_shards": answer["json"]["_shards"]}
        elif asked["path"].endswith("/_search/point_in_time"):
            asked |= {"path": "/_pit", "json": {"id": asked["json"]["pit_id"][0]}}
            answer["json"] = {"succeeded": True, "num_freed": 1}


def main() -> None:
    """Record every case anew."""
    with Elastic() as server:
        end = int(datetime.now(UTC).timestamp()) // 60 * 60
        server.index("logs-1", MAPPING)
        server.bulk("logs-1", documents(end))
        marker = ""
        for name in cases(end, ""):
            case, exchanges = cases(end, marker)[name], list[Exchange]()
            now = datetime.now(UTC)
            plug_in.MOST_POINTS = case["call"].get("most") or 10_000
            with record(server.url, exchanges, lambda text: text) as url:
                config = Config.of(sources={"recorded": {"kind": "elastic", "url": url, **OPTIONS}})
                try:
                    answer = ask("recorded", case["call"], FakeClock(now), config)
                except SREToolkitError as error:
                    print(name, error)
            if name == "annotate":
                case["expected"]["answer"], marker = answer, answer.partition("/")[2]
            if name.startswith("elasticsearch"):
                as_elasticsearch(exchanges)
            source = SPECIFIED if name.startswith("elasticsearch") else ORIGIN
            content = {"now": now.timestamp(), **case, "options": OPTIONS, "source": source, "exchanges": exchanges}
            (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
