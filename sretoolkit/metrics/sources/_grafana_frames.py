"""From Grafana's data frames to a `SeriesFrame`.

Source: grafana-plugin-sdk-go, package data: columns of values, beside them where a NaN or an infinity stands
(``entities``, for JSON has none) and the nanoseconds that a time in milliseconds lacks (``nanos``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sretoolkit.errors import NoData
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.windows import Samples, gathered

_ENTITIES = {"NaN": np.nan, "Inf": np.inf, "NegInf": -np.inf}
_EVEN = 2  # as many moments tell a step


class Malformed(ValueError):
    """The answer holds no data frames as Grafana makes them."""


@dataclass(frozen=True)
class Column:
    """One field of a frame."""

    name: str
    kind: str
    labels: Mapping[str, str]
    shown: str
    values: Sequence[Any]
    entities: Mapping[str, Sequence[int]]
    nanos: Sequence[int]

    def numbers(self) -> NDArray[np.float64]:
        """As float64; a null is NaN."""
        found = np.array([np.nan if one is None else one for one in self.values], dtype=np.float64)
        for name, places in self.entities.items():
            if name in _ENTITIES:
                found[list(places)] = _ENTITIES[name]
        return found

    def times(self) -> NDArray[np.float64]:
        """Milliseconds, rounded up to the next whole one; NaN for a null."""
        found = np.ceil(self.numbers())
        if len(self.nanos) == len(found):
            found += np.array(self.nanos) > 0
        return found


def columns(frame: Mapping[str, Any]) -> list[Column]:
    """The fields of one frame; raises `Malformed`."""
    try:
        fields, data = frame["schema"]["fields"], frame.get("data") or {}
        values = data.get("values") or [[] for _ in fields]
        entities, nanos = data.get("entities") or [], data.get("nanos") or []
        if len(values) != len(fields) or len({len(column) for column in values}) > 1:
            raise Malformed("its fields have different numbers of values")
        return [
            Column(
                name=str(field.get("name") or ""),
                kind=str(field.get("type") or ""),
                labels={str(key): str(value) for key, value in (field.get("labels") or {}).items()},
                shown=str((field.get("config") or {}).get("displayNameFromDS") or ""),
                values=values[at],
                entities=(entities[at] if at < len(entities) else None) or {},
                nanos=(nanos[at] if at < len(nanos) else None) or [],
            )
            for at, field in enumerate(fields)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed("it has no fields, or they are not as they should be") from error


def series(frames: Sequence[Any]) -> tuple[list[Samples], int]:
    """All series of an answer, each with labels of its own, and how many samples were NaN; raises `Malformed`."""
    found: list[tuple[dict[str, str], str, Samples]] = []
    undefined = 0
    for frame in frames:
        if not isinstance(frame, dict):
            raise Malformed("a frame is no object")
        for labels, name, times, values, nans in _of_frame(columns(frame)):
            undefined += nans
            keep = ~np.isnan(times)
            found.append((labels, name, Samples.of(labels, times[keep].astype(np.int64).tolist(), values[keep])))
    return _told_apart(found), undefined


def _of_frame(
    fields: Sequence[Column],
) -> Iterator[tuple[dict[str, str], str, NDArray[np.float64], NDArray[np.float64], int]]:
    clock = next((one for one in fields if one.kind == "time"), None)
    if clock is None:
        return
    try:
        times = clock.times()
        texts = [one for one in fields if one.kind == "string"]
        rows: dict[tuple[str, ...], list[int]] = {}
        for row in range(len(times)):
            rows.setdefault(tuple(str(one.values[row] or "") for one in texts), []).append(row)
        for field in fields:
            if field.kind != "number":
                continue
            numbers = field.numbers()
            nan = set(field.entities.get("NaN", ()))
            for key, places in rows.items():
                own = dict(zip((one.name for one in texts), key, strict=True))
                nans = len(nan.intersection(places)) if nan else 0
                yield {**own, **field.labels}, field.shown or field.name, times[places], numbers[places], nans
    except (ValueError, TypeError, IndexError) as error:
        raise Malformed("a value is no number or no time") from error


def _told_apart(found: Sequence[tuple[dict[str, str], str, Samples]]) -> list[Samples]:
    """Series without labels, or with the same ones, are told apart by their names, and at last by a number."""
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    for labels, _, _ in found:
        key = tuple(sorted(labels.items()))
        counts[key] = counts.get(key, 0) + 1
    seen: dict[tuple[tuple[str, str], ...], int] = {}
    told = []
    for labels, name, samples in found:
        lacking = not labels or counts[tuple(sorted(labels.items()))] > 1
        own = {**labels, "__name__": name} if lacking and name else dict(labels)
        key = tuple(sorted(own.items()))
        seen[key] = seen.get(key, 0) + 1
        own = {**own, "series": str(seen[key])} if seen[key] > 1 else own
        told.append(replace(samples, labels=own))
    return told


@dataclass(frozen=True)
class Answer:
    """The series of one query, and what was said beside them."""

    source: str
    query: str
    found: Sequence[Samples]
    undefined: int
    notices: Sequence[str]

    def frame(self, grid: Grid) -> SeriesFrame:
        """On the moments that the data source really answered for; irregular times come to the grid's.

        Raises `NoData`.
        """
        answered = self._answered(grid)
        notes = self._notes()
        if answered is None:
            return gathered(grid, self.found, source=self.source, query=self.query, warnings=notes)
        if answered.step != grid.step:
            notes.append(f"the data source answered every {answered.step / 1000:g} s, not every {grid.step / 1000:g} s")
        elif (shift := (answered.first - grid.first) % grid.step) != 0:
            notes.append(f"the data source moved every moment by {shift / 1000:g} s, to whole steps")
        values = np.full((answered.count, len(self.found)), np.nan)
        for column, one in enumerate(self.found):
            rows = (one.times - answered.first) // answered.step
            inside = (rows >= 0) & (rows < answered.count)
            values[rows[inside], column] = one.values[inside]
        return self._made(answered, values, notes)

    def newest(self, grid: Grid) -> SeriesFrame:
        """One row: the newest sample of each series."""
        values = np.array([[one.values[-1] if len(one.values) else np.nan for one in self.found]])
        return self._made(grid, values, self._notes())

    def _made(self, grid: Grid, values: NDArray[np.float64], notes: Sequence[str]) -> SeriesFrame:
        keep = [column for column in range(values.shape[1]) if not np.isnan(values[:, column]).all()]
        if not keep:
            text = f"{self.source} has {'only NaN' if self.undefined else 'no data'} for {self.query} ({grid})"
            hint = "are the names right, and is it the right data source? does its own page in Grafana show data?"
            raise NoData(text, source=self.source, query=self.query, hint=hint)
        return SeriesFrame(
            times=grid.moments,
            values=values[:, keep],
            labels=[dict(self.found[column].labels) for column in keep],
            interval=timedelta(milliseconds=grid.step),
            warnings=notes,
            query=self.query,
        )

    def _notes(self) -> list[str]:
        nan = [f"{self.undefined} samples are NaN (as of 0/0) and count as missing"] if self.undefined else []
        return [*dict.fromkeys(self.notices), *nan]

    def _answered(self, grid: Grid) -> Grid | None:
        """The grid of the answer's own times within the window; None when they are not evenly spaced."""
        times = np.unique(np.concatenate([one.times for one in self.found])) if self.found else np.array([], np.int64)
        times = times[(times >= grid.first) & (times <= grid.last)]
        if len(times) < _EVEN:
            return grid.moved(int((times[0] - grid.first) % grid.step)) if len(times) else grid
        spacing = int(np.gcd.reduce(np.diff(times)))
        if spacing % grid.step:
            return None
        if spacing == grid.step or _has_gaps(self.found, spacing):
            return grid.moved(int((times[0] - grid.first) % grid.step))
        first = int(times[0])
        return Grid(first, spacing, int(times[-1] - first) // spacing + 1)


def _has_gaps(found: Sequence[Samples], spacing: int) -> bool:
    """Whether no series has a sample at each moment, so that a wide spacing says nothing of the step."""
    return all(len(one.times) < _EVEN or int(np.diff(one.times).max()) > spacing for one in found)
