"""OpenNMS' measurements: what is asked for, and what came back.

A query is one or more selectors, one a line: ``ifHCInOctets{resource="node[1].interfaceSnmp[eth0]"}``, with
``aggregation="MAX"`` where another than the average is meant; or a whole request as JSON, with ``source`` and ``expression``
(JEXL) as the API has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sretoolkit.errors import ConfigError, NoData, QueryError, SourceUnavailable
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.sources._opennms_rest import Rest
from sretoolkit.metrics.windows import Samples, gathered

_KNOWN = frozenset({"resource", "aggregation"})
_HINT = 'write attribute{resource="node[1].interfaceSnmp[eth0]"}; its page of resources in OpenNMS shows both'
_EVEN = 2


@dataclass(frozen=True)
class Measured:
    """The answer: the moments (milliseconds), the step that the server really took, and a column for each label."""

    times: NDArray[np.int64]
    step: int
    columns: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Question:
    """The body of a request, and the labels of the series behind each of the names that we gave."""

    text: str
    sources: Sequence[Mapping[str, Any]]
    expressions: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def body(self, grid: Grid) -> dict[str, Any]:
        """As the API wants it."""
        more = {"expression": list(self.expressions)} if self.expressions else {}
        return {"start": grid.first, "end": grid.last, "step": grid.step, "source": list(self.sources), **more}

    def ask(self, rest: Rest, grid: Grid) -> Measured:
        """Ask; raises as `Rest.json` does, `SourceUnavailable` for an answer that is none, `NoData` for an empty one."""
        path = "/rest/measurements"
        answer = rest.json("POST", path, query=self.text, json=self.body(grid), repeatable=True)
        if answer is None:
            raise self.no_data(rest.name, grid)
        try:
            times = np.array(answer["timestamps"], dtype=np.int64)
            named = zip(answer["labels"], answer["columns"], strict=True)
            columns = {str(label): _numbers(column["values"]) for label, column in named}
            if any(len(column) != len(times) for column in columns.values()):
                raise ValueError("columns and timestamps differ in length")
            return Measured(times, int(answer.get("step") or grid.step), columns)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            text = f"{rest.name} answers {path} with no measurements"
            hint = "does url lead to OpenNMS itself (.../opennms)?"
            raise SourceUnavailable(text, source=rest.name, query=self.text, hint=hint) from error

    def frame(self, measured: Measured, grid: Grid, source: str) -> SeriesFrame:
        """On the moments that the server took; irregular ones come to the grid's. Raises `NoData`."""
        inside = (measured.times >= grid.first) & (measured.times <= grid.last)
        times = measured.times[inside]
        columns = {name: values[inside] for name, values in measured.columns.items()}
        kept = {name: values for name, values in columns.items() if not np.isnan(values).all()}
        if not kept:
            raise self.no_data(source, grid)
        step = int(times[1] - times[0]) if len(times) >= _EVEN else measured.step
        if len(times) >= _EVEN and set(np.diff(times).tolist()) != {step}:
            series = [
                Samples.of(self.labels.get(name, {"label": name}), times.tolist(), values.tolist())
                for name, values in kept.items()
            ]
            return gathered(grid, series, source=source, query=self.text)
        note = f"the server answered every {step / 1000:g} s, not every {grid.step / 1000:g} s"
        return SeriesFrame(
            times=times,
            values=np.column_stack(list(kept.values())),
            labels=[dict(self.labels.get(name, {"label": name})) for name in kept],
            interval=timedelta(milliseconds=step),
            warnings=[note] if step != grid.step else [],
            query=self.text,
        )

    def no_data(self, source: str, grid: Grid) -> NoData:
        """Nothing is there."""
        hint = "is it collected (Collectd), and is the window within what is kept?"
        return NoData(f"{source} has no data for {self.text} ({grid})", source=source, query=self.text, hint=hint)


def question(text: str, source: str) -> Question:
    """Read a query; raises `QueryError`."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if isinstance(given, dict):
        sources, expressions = given.get("source") or [], given.get("expression") or []
        if not (sources and isinstance(sources, list) and isinstance(expressions, list)):
            raise QueryError(f"{source}: the request has no source", source=source, query=text, hint=_HINT)
        return Question(text, sources, expressions)
    try:
        selectors = [Selector.parse(line) for line in text.split("\n") if line.strip()]
    except ConfigError as error:
        raise QueryError(f"{source}: {error.message}", source=source, query=text, hint=error.hint) from error
    if not selectors or (lacking := [one for one in selectors if fault(one)]):
        reason = fault(lacking[0]) if selectors else "it is empty"
        raise QueryError(f"{source}: {text}: {reason}", source=source, query=text, hint=_HINT)
    return of_selectors(text, selectors)


def of_selectors(text: str, selectors: Sequence[Selector], *, aggregation: str = "AVERAGE") -> Question:
    """What is asked for them; the names in the request are ours (s0, s1, ...), whatever attributes are called."""
    sources, labels = [], {}
    for number, selector in enumerate(selectors):
        given = {one.label: one.value for one in selector.matchers}
        sources.append(
            {
                "label": f"s{number}",
                "resourceId": given["resource"],
                "attribute": selector.metric,
                "aggregation": given.get("aggregation", aggregation),
                "transient": False,
            }
        )
        labels[f"s{number}"] = {"__name__": selector.metric, **given}
    return Question(text, sources, (), labels)


def fault(selector: Selector) -> str:
    """Why a selector names no single attribute of a resource; "" when it does."""
    odd = [one for one in selector.matchers if one.label not in _KNOWN or one.operator != "="]
    if odd:
        return f"a resource has no label to hold {odd[0]} against"
    names = [one.label for one in selector.matchers]
    if len(names) != len(set(names)):
        return "it names a resource twice"
    return "" if "resource" in names else "it names no resource"


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    """NaN is written as "NaN" or null."""
    return np.array([np.nan if one is None else float(one) for one in values], dtype=np.float64)
