"""From Prometheus' answers to a `SeriesFrame`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from sretoolkit.errors import NoData, QueryError, SourceError
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.series import Kind, SeriesFrame
from sretoolkit.metrics.sources._prometheus_body import Labels, Piece, Result

_UNITS = {"seconds": "s", "bytes": "B", "ratio": "ratio", "celsius": "°C", "volts": "V", "amperes": "A", "joules": "J"}
_CUMULATIVE = ("_total", "_count", "_bucket", "_sum")
_Rows = slice | NDArray[np.bool_]


class Decoder:
    """Puts the answers to one query, one for each piece of the grid, on the grid."""

    def __init__(self, source: str, query: str, grid: Grid) -> None:
        self.source = source
        self.query = query
        self._asked = grid
        self._shift: int | None = None
        self._columns: dict[Labels, NDArray[np.float64]] = {}
        self._warnings: dict[str, None] = {}
        self._remarks: dict[str, None] = {}
        self._undefined = 0
        self._placed: tuple[NDArray[np.int64], NDArray[np.int64], _Rows] | None = None

    @property
    def series(self) -> int:
        """How many series there are so far."""
        return len(self._columns)

    def add(self, result: Result) -> None:
        """Take one answer in and empty it; raises `QueryError` for what has no numbers, `SourceError` for uneven times."""
        if result.kind not in ("scalar", "matrix", "vector"):
            raise self.refused(f"the query gives a {result.kind or 'nameless type'}, not numbers", "ask for a number")
        if result.has_histograms:
            hint = "wrap it: histogram_quantile(0.99, ...), histogram_count(...) or histogram_sum(...)"
            raise self.refused("the query gives native histograms, not numbers", hint)
        self._warnings |= dict.fromkeys(result.warnings)
        self._remarks |= dict.fromkeys(result.infos)
        for number, piece in enumerate(result):
            self._place(piece)
            result[number] = _TAKEN  # its memory is free before the next one takes more

    def frame(self) -> SeriesFrame:
        """All of it; raises `NoData`."""
        grid = self._asked.moved(self._shift or 0)
        labels = sorted(self._columns)
        if not labels or all(np.isnan(self._columns[pairs]).all() for pairs in labels):
            raise self._no_data(grid)
        values = np.empty((len(labels), grid.count))
        for row, pairs in enumerate(labels):
            values[row] = self._columns.pop(pairs)[: grid.count]
        moved = [f"the server moved every moment by {self._shift / 1000:g} s, to whole steps"] if self._shift else []
        undefined = self._undefined
        notes = [*moved, *([f"{undefined} samples are NaN (as of 0/0) and count as missing"] if undefined else [])]
        unit, kind = _meaning(labels)
        return SeriesFrame(
            times=grid.moments,
            values=values.T,
            labels=[dict(pairs) for pairs in labels],
            interval=timedelta(milliseconds=grid.step),
            unit=unit,
            kind=kind,
            complete=not self._warnings,
            warnings=[*self._warnings, *self._remarks, *notes],
            query=self.query,
        )

    def refused(self, what: str, hint: str) -> QueryError:
        """The query is of a kind that has no place in a frame."""
        return QueryError(f"{self.source}: {what}: {self.query}", source=self.source, query=self.query, hint=hint)

    def _place(self, piece: Piece) -> None:
        rows, inside = self._rows(piece.times)
        column = self._columns.get(piece.labels)
        if column is None:
            column = self._columns[piece.labels] = np.full(self._asked.count, np.nan)
        column[rows] = piece.values[inside]
        self._undefined += int(np.isnan(piece.values).sum())

    def _rows(self, times: NDArray[np.int64]) -> tuple[NDArray[np.int64], _Rows]:
        """Where on the grid these times are, and which of them; mostly the same for series after series."""
        if self._placed is None or self._placed[0] is not times:
            away = times - self._asked.first
            shifts = np.unique(away % self._asked.step)
            if self._shift is None and len(shifts):
                self._shift = int(shifts[0])  # VictoriaMetrics moves every moment to whole steps
            if (shifts != self._shift).any():
                step = self._asked.step
                text = f"{self.source} answered with uneven times to a step of {step} ms: {self.query}"
                hint = "give end and step in whole seconds"
                raise SourceError(text, source=self.source, query=self.query, hint=hint)
            grid = self._asked.moved(self._shift or 0)
            rows = (times - grid.first) // grid.step
            inside = (rows >= 0) & (rows < grid.count)
            self._placed = times, rows[inside], inside
        return self._placed[1:]

    def _no_data(self, grid: Grid) -> NoData:
        if self._undefined:
            text = f"{self.source} has only NaN for {self.query} ({grid})"
            hint = "a division by zero? ask for the divisor alone"
        else:
            text = f"{self.source} has no data for {self.query} ({grid})"
            hint = "check metric name and labels; is the target scraped (up), and was it in that window?"
        return NoData(text, source=self.source, query=self.query, hint=hint)


_TAKEN = Piece((), np.empty(0, np.int64), np.empty(0))


def _meaning(labels: Sequence[Labels]) -> tuple[str, Kind]:
    """Unit and kind from the metric's name, by the naming rules; functions that change the meaning drop the name."""
    names = {dict(pairs).get("__name__", "") for pairs in labels}
    units = {_UNITS.get(name.removesuffix("_total").removesuffix("_sum").rpartition("_")[2], "") for name in names}
    cumulative = all(name.endswith(_CUMULATIVE) for name in names)
    return units.pop() if len(units) == 1 else "", "cumulative" if cumulative else "gauge"
