"""What goes over the wire to Elasticsearch and OpenSearch: searches, pages of groups, documents in order, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NoReturn

from sretoolkit.clock import Clock
from sretoolkit.errors import QueryError, SourceError, SourceUnavailable, TooCostly
from sretoolkit.http.client import Answer
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.wire import Wire

PAGE = 1_000
MOST_HITS = 10_000  # a server gives no more at once
MOST_BUCKETS = 50_000  # of the 65,535 that a server makes at most
_TOO_MANY = "too_many_buckets"


@dataclass
class Remarks:
    """What the answers to one question said beside the result."""

    complete: bool = True
    warnings: dict[str, None] = field(default_factory=dict)

    def lacking(self, text: str) -> None:
        """Something is missing, and what."""
        self.complete = False
        self.warnings[text] = None

    def read(self, body: Mapping[str, Any]) -> None:
        """Shards and clusters that failed, and a search that ran out of time."""
        shards = body.get("_shards") or {}
        if failed := shards.get("failed"):
            causes = {_cause(one.get("reason")) for one in shards.get("failures") or () if isinstance(one, dict)}
            why = f": {'; '.join(sorted(causes - {''}))}" if causes - {""} else ""
            self.lacking(f"{failed} of {shards.get('total')} shards did not answer{why}")
        if body.get("timed_out"):
            self.lacking("the search ran out of time on the server: only a part was counted")
        clusters = body.get("_clusters") or {}
        if left := sum(clusters.get(word) or 0 for word in ("skipped", "failed", "partial")):
            self.lacking(f"{left} of {clusters.get('total')} clusters did not answer in full")


class Search:
    """The connection to one cluster; the product is what ``/`` says."""

    def __init__(self, endpoint: Endpoint, clock: Clock, scheme: str) -> None:
        self.endpoint = endpoint
        remote = replace(endpoint.remote, scheme=scheme) if scheme else endpoint.remote
        said = replace(endpoint, remote=remote)
        self.wire = Wire(said, product="Elasticsearch or OpenSearch", said=_said, clock=clock)

    def json(self, method: str, path: str, *, query: str = "", **options: Any) -> dict[str, Any]:
        """A JSON object; raises `TooCostly` where the server would not make so many buckets."""
        try:
            answer = self.wire.ask(method, path, query=query, **options)
        except (SourceUnavailable, QueryError) as error:
            if _TOO_MANY not in error.message:
                raise
            hint = "aggregate: fewer groups, a longer step or a shorter window"
            raise TooCostly(error.message, source=error.source, query=query, hint=hint) from error
        try:
            body = answer.json()
        except ValueError:
            self.wire.foreign(answer, query)
        return body if isinstance(body, dict) else self.wire.foreign(answer, query)

    def ask(self, index: str, body: Mapping[str, Any], remarks: Remarks, query: str) -> dict[str, Any]:
        """One search; it only reads, so that it may be sent again."""
        path = f"/{index}/_search" if index else "/_search"
        found = self.json("POST", path, query=query, json=body, repeatable=True)
        if not isinstance(found.get("hits"), dict):
            self.odd(path, query)
        remarks.read(found)
        return found

    def odd(self, path: str, query: str) -> NoReturn:
        """Raise that the answer has not the shape that it should have."""
        hint = "does url lead to the cluster itself, not to Kibana or a proxy's page?"
        text = f"{self.endpoint.name} answered {path} with something else than a cluster does"
        raise SourceError(text, source=self.endpoint.name, query=query, hint=hint)

    def groups(
        self, index: str, body: Mapping[str, Any], composite: Mapping[str, Any], aggs: Mapping[str, Any],
        remarks: Remarks, query: str,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Every bucket of a composite aggregation, page after page: no group is dropped, however many there are."""
        after: Any = None
        while True:
            asked = {**composite, **({"after": after} if after else {})}
            whole = {**body, "aggs": {"groups": {"composite": asked, **({"aggs": aggs} if aggs else {})}}}
            found = self.ask(index, whole, remarks, query).get("aggregations", {}).get("groups", {})
            yield from found.get("buckets", [])
            after = found.get("after_key")
            if not after or not found.get("buckets"):
                return

    def documents(
        self, index: str, filters: list[Any], time_field: str, remarks: Remarks, query: str, *,
        more: Mapping[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Every document that fulfils the filters, oldest first, more than 10,000 too, each once.

        Pages follow one another by the time alone, which both products sort alike: the next begins at the last one's
        millisecond, and what was seen is left out.
        """
        sort = [{time_field: {"order": "asc", "numeric_type": "date", "unmapped_type": "date"}}]
        body: dict[str, Any] = {"query": {"bool": {"filter": filters}}, "sort": sort, **(more or {})}
        with self._view(index, query) as (path, view):
            size, after, seen = PAGE, None, set()
            while True:
                place: dict[str, Any] = {"search_after": [after - 1]} if after is not None else {}
                asked = {**body, **view, **place, "size": size, "track_total_hits": False}
                hits = self.ask(path, asked, remarks, query)["hits"].get("hits", [])
                fresh = [hit for hit in hits if (hit.get("_index"), hit.get("_id")) not in seen]
                yield from fresh
                if len(hits) < size:
                    return
                last = hits[-1]["sort"][0]
                if last == after and not fresh:
                    if size == MOST_HITS:
                        text = f"{self.endpoint.name} has more than {MOST_HITS:,} documents of one millisecond"
                        hint = "narrow the query by a label"
                        raise TooCostly(text, source=self.endpoint.name, query=query, hint=hint)
                    size = MOST_HITS
                after = last
                seen = {(hit.get("_index"), hit.get("_id")) for hit in hits if hit["sort"][0] == last}

    @contextmanager
    def _view(self, index: str, query: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """A point in time, so that what is written meanwhile moves no page; without one where there is none to be had."""
        opensearch = self.is_opensearch
        path = f"/{index}/{'_search/point_in_time' if opensearch else '_pit'}"
        try:
            found = self.json("POST", path, query=query, params={"keep_alive": "1m"}, repeatable=True)
        except QueryError as error:
            if "no such index" in error.message:
                raise
            yield index, {}
            return
        identifier = found.get("pit_id" if opensearch else "id", "")
        try:
            yield "", {"pit": {"id": identifier, "keep_alive": "1m"}}
        finally:
            gone = {"pit_id": [identifier]} if opensearch else {"id": identifier}
            with suppress(SourceError):  # it ends by itself after a minute
                self.json("DELETE", "/_search/point_in_time" if opensearch else "/_pit", json=gone)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What ``/`` says: name, version, product."""
        found = self.json("GET", "/")
        if not isinstance(found.get("version"), dict):
            self.odd("/", "")
        return found

    @property
    def is_opensearch(self) -> bool:
        """OpenSearch, by what the server says of itself."""
        return bool(self.about["version"].get("distribution") == "opensearch")


def oneline(method: str, path: str, body: Mapping[str, Any]) -> str:
    """A request as one line."""
    return f"{method} {path} {json.dumps(body, ensure_ascii=False)}"


def _said(answer: Answer) -> str:
    """The server's words: the cause at the root, and what is behind it."""
    try:
        body = answer.json()
    except ValueError:
        return ""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return ""
    roots = [one for one in error.get("root_cause") or () if isinstance(one, dict)]
    return _cause({**error, **(roots[0] if roots else {})})


def _cause(error: Any) -> str:
    """A reason and the innermost cause of it, with its type."""
    if not isinstance(error, dict):
        return ""
    inner = error
    while isinstance(inner.get("caused_by"), dict):
        inner = inner["caused_by"]
    reasons = dict.fromkeys(str(one.get("reason") or "") for one in (error, inner))
    return f"{error.get('type', 'error')}: {': '.join(reason for reason in reasons if reason)}"
