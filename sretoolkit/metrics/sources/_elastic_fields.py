"""Which fields an index pattern has, and a selector as a query on them.

Everything from outside is a JSON value, never a part of a query's text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sretoolkit.errors import NoData, QueryError
from sretoolkit.metrics.matcher import Matcher, Selector
from sretoolkit.metrics.sources._elastic_regex import Untranslatable, lucene, numbers

if TYPE_CHECKING:
    from sretoolkit.metrics.sources.elastic import Elastic

Query = dict[str, Any]
NUMBERS = frozenset({
    "long", "integer", "short", "byte", "unsigned_long", "double", "float", "half_float", "scaled_float",
    "aggregate_metric_double",
})  # fmt: skip
_WHOLE = frozenset({"long", "integer", "short", "byte", "unsigned_long"})
_WORDS = frozenset({"keyword", "constant_keyword", "wildcard", "version"})
_OTHERS = frozenset({"ip", "boolean", "flattened"})
NOTHING: Query = {"match_none": {}}
DOCUMENTS = "*"
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})")


@dataclass
class Fields:
    """The fields of one source's indices, asked for once for every name."""

    source: Elastic
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def learn(self, names: Sequence[str], query: str) -> None:
        """Ask what kind these fields are, and their ``.keyword`` beside them; raises `NoData` when there is no index."""
        wanted = sorted({both for name in names for both in (name, f"{name}.keyword")} - self.known.keys())
        if not wanted:
            return
        path = f"/{self.source.index}/_field_caps"
        answer = self.source.search.json("GET", path, query=query, params={"fields": ",".join(wanted)})
        if not answer.get("indices"):
            text = f"{self.source.name} has no index that is called {self.source.indices}"
            hint = "set index of the source to the pattern of the indices, such as logs-*"
            raise NoData(text, source=self.source.name, query=query, hint=hint)
        found = answer.get("fields") or {}
        self.known |= {name: found.get(name) or {} for name in wanted}

    def label(self, name: str, query: str) -> tuple[str, str]:
        """The field to filter and group a label by, and its kind.

        Raises `QueryError` when there is none, `NotExpressible` for text that is only kept in pieces.
        """
        self.learn([name], query)
        for candidate in (name, f"{name}.keyword"):
            kinds = self.known[candidate].keys()
            if len(kinds) == 1 and kinds <= _WORDS | _OTHERS | NUMBERS:
                return candidate, next(iter(kinds))
            if len(kinds) > 1 and (kinds <= _WORDS or kinds <= _WHOLE):
                return candidate, "keyword" if kinds <= _WORDS else "long"
        kinds = self.known[name].keys()
        if not kinds:
            raise self._unknown(name, query)
        raise self.source.cannot(
            f"the label {name}",
            query,
            reason=f"the field is kept as {' and as '.join(sorted(kinds))} in {self.source.indices}, without a keyword",
            nearest="map it as a keyword (a multi-field .keyword), or narrow index to where it is one",
        )

    def number(self, name: str, query: str) -> str:
        """A field of numbers; raises `QueryError` when it is none."""
        self.learn([name], query)
        kinds = self.known[name].keys()
        if not kinds:
            raise self._unknown(name, query)
        if not kinds <= NUMBERS:
            text = f"{self.source.name}: the field {name} is no number but {', '.join(sorted(kinds))}"
            hint = "give a field of numbers, or * (or a name in the option documents) to count documents"
            raise QueryError(text, source=self.source.name, query=query, hint=hint)
        return name

    def query(self, selector: Selector, name: str) -> Query:
        """What a document must fulfil to be selected."""
        return {"bool": {"filter": [self._condition(matcher, name) for matcher in selector.matchers]}}

    def _condition(self, matcher: Matcher, name: str) -> Query:
        found, kind = self.label(matcher.label, name)
        positive = self._positive(matcher, found, kind, name)
        if _fits(matcher, ""):
            missing: Query = {"bool": {"must_not": [{"exists": {"field": found}}]}}
            positive = {"bool": {"should": [positive, missing], "minimum_should_match": 1}}
        return {"bool": {"must_not": [positive]}} if matcher.operator.startswith("!") else positive

    def _positive(self, matcher: Matcher, found: str, kind: str, name: str) -> Query:
        """The documents whose value is, or matches; a denial is put around it."""
        value = matcher.value
        if not _sendable(value):
            return NOTHING
        try:
            if kind in NUMBERS:
                return self._of_numbers(matcher, found, kind)
            if not matcher.is_regex:
                return {"term": {found: {"value": value}}} if kind not in _OTHERS or value else NOTHING
            if kind not in _WORDS:
                raise Untranslatable(f"a regular expression on a field of kind {kind}")
            return {"regexp": {found: {"value": lucene(value), "flags": "NONE"}}}
        except Untranslatable as error:
            raise self.source.cannot(
                f"{matcher}",
                name,
                reason=f"the server's regular expressions (Lucene) do not have {error}",
                nearest="write it with literals, ., classes, groups, | and repetitions, or list the values: a|b|c",
            ) from error

    def _of_numbers(self, matcher: Matcher, found: str, kind: str) -> Query:
        if not matcher.is_regex:
            whole = _INTEGER.fullmatch(matcher.value) and matcher.value != "-0"
            return {"term": {found: {"value": int(matcher.value)}}} if whole else NOTHING
        if kind not in _WHOLE:
            raise Untranslatable(f"a regular expression on a field of kind {kind}")
        ranges = [{"range": {found: {"gte": least, "lte": most}}} for least, most in numbers(matcher.value)]
        return {"bool": {"should": ranges, "minimum_should_match": 1}}

    def _unknown(self, name: str, query: str) -> QueryError:
        text = f"{self.source.name}: no index of {self.source.indices} has a field {name}"
        answer: Mapping[str, Any] = self.source.search.json(
            "GET", f"/{self.source.index}/_field_caps", query=query, params={"fields": "*"}
        )
        names = [one for one in answer.get("fields", {}) if not one.startswith("_")]
        near = get_close_matches(name, names, n=1) or get_close_matches(name.rpartition(".")[2], names, n=1)
        hint = f"did you mean {near[0]}?" if near else "look at the mapping; a label is a field's whole name: host.name"
        return QueryError(text, source=self.source.name, query=query, hint=hint)


def _fits(matcher: Matcher, value: str) -> bool:
    """Whether the positive of a condition holds for a value."""
    return bool(re.fullmatch(matcher.value, value, re.S)) if matcher.is_regex else matcher.value == value


def _sendable(value: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in value)


def shown(key: Any) -> str:
    """A bucket's key as a label's value."""
    if key is None:
        return ""
    if isinstance(key, bool):
        return str(key).lower()
    return str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)
