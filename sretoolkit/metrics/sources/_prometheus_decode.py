"""From Prometheus' answers to a `SeriesFrame`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from sretoolkit.errors import NoData, QueryError, SourceError
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.series import Kind, SeriesFrame
from sretoolkit.metrics.sources._prometheus_http import Result

_UNITS = {"seconds": "s", "bytes": "B", "ratio": "ratio", "celsius": "°C", "volts": "V", "amperes": "A", "joules": "J"}
_CUMULATIVE = ("_total", "_count", "_bucket", "_sum")
_Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Piece:
    """The samples of one series in one answer: milliseconds, values."""

    labels: _Labels
    times: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Decoder:
    """Reads the answers to one query."""

    source: str
    query: str

    def frame(self, grid: Grid, results: Sequence[Result]) -> SeriesFrame:
        """One frame of the answers for the grid's chunks; raises `NoData`, or `QueryError` for what has no numbers."""
        pieces = [piece for result in results for piece in self._pieces(result)]
        warnings = dict.fromkeys(text for result in results for text in result.warnings)
        remarks = dict.fromkeys(text for result in results for text in result.infos)
        grid, moved = self._aligned(grid, pieces)
        labels = sorted({piece.labels for piece in pieces})
        values = _matrix(grid, labels, pieces)
        undefined = sum(int(np.isnan(piece.values).sum()) for piece in pieces)
        if np.isnan(values).all():
            raise self._no_data(grid, undefined)
        notes = [*moved, *([f"{undefined} samples are NaN (as of 0/0) and count as missing"] if undefined else [])]
        unit, kind = _meaning(labels)
        return SeriesFrame(
            times=grid.moments,
            values=values,
            labels=[dict(pairs) for pairs in labels],
            interval=timedelta(milliseconds=grid.step),
            unit=unit,
            kind=kind,
            complete=not warnings,
            warnings=[*warnings, *remarks, *notes],
            query=self.query,
        )

    def _pieces(self, result: Result) -> Iterator[_Piece]:
        if result.kind == "scalar":
            yield _piece({}, [result])
        elif result.kind in ("matrix", "vector"):
            for series in result:
                if "histogram" in series or "histograms" in series:
                    hint = "wrap it: histogram_quantile(0.99, ...), histogram_count(...) or histogram_sum(...)"
                    raise self.refused("the query gives native histograms, not numbers", hint)
                yield _piece(series["metric"], series["values"] if "values" in series else [series["value"]])
        else:
            raise self.refused(f"the query gives a {result.kind or 'nameless type'}, not numbers", "ask for a number")

    def refused(self, what: str, hint: str) -> QueryError:
        """The query is of a kind that has no place in a frame."""
        return QueryError(f"{self.source}: {what}: {self.query}", source=self.source, query=self.query, hint=hint)

    def _aligned(self, grid: Grid, pieces: Sequence[_Piece]) -> tuple[Grid, list[str]]:
        """The grid on which the server really answered: VictoriaMetrics moves it to whole steps."""
        shifts = {int(shift) for piece in pieces for shift in np.unique((piece.times - grid.first) % grid.step)}
        if len(shifts) > 1:
            text = f"{self.source} answered with uneven times to a step of {grid.step} ms: {self.query}"
            raise SourceError(text, source=self.source, query=self.query, hint="give end and step in whole seconds")
        shift = shifts.pop() if shifts else 0
        note = f"the server moved every moment by {shift / 1000:g} s, to whole steps"
        return grid.moved(shift), [note] if shift else []

    def _no_data(self, grid: Grid, undefined: int) -> NoData:
        if undefined:
            text = f"{self.source} has only NaN for {self.query} ({grid})"
            hint = "a division by zero? ask for the divisor alone"
        else:
            text = f"{self.source} has no data for {self.query} ({grid})"
            hint = "check metric name and labels; is the target scraped (up), and was it in that window?"
        return NoData(text, source=self.source, query=self.query, hint=hint)


def _piece(labels: dict[str, str], points: Sequence[Sequence[float | str]]) -> _Piece:
    times = np.rint(np.array([point[0] for point in points], dtype=np.float64) * 1000).astype(np.int64)
    return _Piece(tuple(sorted(labels.items())), times, np.array([point[1] for point in points], dtype=np.float64))


def _matrix(grid: Grid, labels: Sequence[_Labels], pieces: Sequence[_Piece]) -> NDArray[np.float64]:
    values = np.full((grid.count, len(labels)), np.nan)
    columns = {pairs: column for column, pairs in enumerate(labels)}
    for piece in pieces:
        rows = (piece.times - grid.first) // grid.step
        inside = (rows >= 0) & (rows < grid.count)
        values[rows[inside], columns[piece.labels]] = piece.values[inside]
    return values


def _meaning(labels: Sequence[_Labels]) -> tuple[str, Kind]:
    """Unit and kind from the metric's name, by the naming rules; functions that change the meaning drop the name."""
    names = {dict(pairs).get("__name__", "") for pairs in labels}
    units = {_UNITS.get(name.removesuffix("_total").removesuffix("_sum").rpartition("_")[2], "") for name in names}
    cumulative = all(name.endswith(_CUMULATIVE) for name in names)
    return units.pop() if len(units) == 1 else "", "cumulative" if cumulative else "gauge"
