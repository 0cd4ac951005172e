"""The one shape in which every monitoring system's answer is kept: a time grid, a matrix and a label table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sretoolkit.chart import Annotation, Chart, Line, Threshold
from sretoolkit.chart.scale import quantity
from sretoolkit.errors import ConfigError
from sretoolkit.report import Table

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["gauge", "cumulative", "delta", "ratio", "quantile"]
Closed = Literal["left", "right", "both"]
How = Literal["mean", "min", "max", "sum", "last"]


class Sample(NamedTuple):
    """One value of one series."""

    time: datetime
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesFrame:
    """Series on one grid of UTC times.

    ``times``: int64 milliseconds since the epoch, ascending, ``interval`` apart. ``values``: float64, one row a time,
    one column a series; NaN = no sample (never 0), infinities are real samples. ``labels``: one mapping a column.
    ``closed``: which end of the interval behind a value belongs to it. ``complete``: False when the system gave only
    part of what it has. Raises `ValueError` when the shapes do not fit.
    """

    times: NDArray[np.int64]
    values: NDArray[np.float64]
    labels: Sequence[Mapping[str, str]]
    interval: timedelta
    unit: str = ""
    kind: Kind = "gauge"
    closed: Closed = "right"
    complete: bool = True
    warnings: Sequence[str] = ()
    query: str = ""

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.labels)):
            raise ValueError(
                f"values of shape {self.values.shape} do not fit {len(self.times)} times and {len(self.labels)} series"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def window(self) -> tuple[datetime, datetime]:
        """The first and the last moment of the grid."""
        first, last = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(self.times[at])) for at in (0, -1))
        return first, last

    @cached_property
    def names(self) -> list[str]:
        """A name a series: only the labels in which they differ, all of them for a single series."""
        keys = sorted({key for labels in self.labels for key in labels})
        if len(self) > 1:
            keys = [key for key in keys if len({labels.get(key) for labels in self.labels}) > 1]
        return [_name(labels, keys) or self.query or "value" for labels in self.labels]

    @cached_property
    def samples(self) -> NDArray[np.int64]:
        """How many samples each series has; `len(frame.times)` would be all."""
        counts: NDArray[np.int64] = np.count_nonzero(~np.isnan(self.values), axis=0)
        return counts

    def resample(self, interval: timedelta, how: How = "mean") -> SeriesFrame:
        """A coarser grid whose moments are whole intervals since the epoch, each for the samples in (t - interval, t].

        ``how``: mean, min, max, sum or last; missing samples are left out, and NaN stays where there is none at all.
        Raises `ConfigError` for an interval finer than the frame's, or a sum of what is no delta.
        """
        if interval < self.interval:
            hint = "ask the source again with a smaller step"
            raise ConfigError(f"a frame of {self.interval} cannot be made finer ({interval})", hint=hint)
        if how == "sum" and self.kind != "delta":
            raise ConfigError(f"a sum over time of a {self.kind} means nothing", hint="use mean, min, max or last")
        size = interval // timedelta(milliseconds=1)
        moments = -(-self.times // size) * size
        times, starts = np.unique(moments, return_index=True)
        with np.errstate(invalid="ignore"):
            values = _REDUCE[how](self.values, starts) if len(times) else self.values
        return replace(self, times=times, values=values, interval=interval)

    def align(self, other: SeriesFrame) -> tuple[SeriesFrame, SeriesFrame]:
        """Both on the moments that they share, on the coarser of the two grids; raises `ConfigError` when there are none."""
        interval = max(self.interval, other.interval)
        frames = [one if one.interval == interval else one.resample(interval, "last") for one in (self, other)]
        shared = np.intersect1d(frames[0].times, frames[1].times)
        if not len(shared):
            hint = "ask both for the same window and step, or resample both to whole minutes first"
            raise ConfigError("the two frames share no moment", hint=hint)
        places = [np.searchsorted(one.times, shared) for one in frames]
        first, second = (
            replace(one, times=shared, values=one.values[rows]) for one, rows in zip(frames, places, strict=True)
        )
        return first, second

    def pandas(self) -> pd.DataFrame:
        """A data frame: index ``time`` (UTC), one column a series, a column level for each label name.

        Raises `ConfigError` when pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            hint = "pip install 'sretoolkit[pandas]'; .long() and .values need nothing more"
            raise ConfigError("a data frame needs pandas, which is not installed", hint=hint) from error
        index = pd.DatetimeIndex(self.times.astype("datetime64[ms]").astype("datetime64[us]"), tz="UTC", name="time")
        keys = sorted({key for labels in self.labels for key in labels})
        if not keys:
            return pd.DataFrame(self.values, index=index, columns=self.names)
        columns = [[labels.get(key, "") for labels in self.labels] for key in keys]
        levels = [sorted(set(column)) for column in columns]  # pandas would find them out again, slower
        places = [{value: place for place, value in enumerate(level)} for level in levels]
        codes = [[place[value] for value in column] for place, column in zip(places, columns, strict=True)]
        return pd.DataFrame(self.values, index=index, columns=pd.MultiIndex(levels, codes, names=keys))

    def long(self) -> list[Sample]:
        """The samples one by one, series after series, without the places where there is none."""
        moments = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time) for time in self.times.tolist()]
        return [
            Sample(moments[row], labels, float(self.values[row, column]))
            for column, labels in enumerate(self.labels)
            for row in np.flatnonzero(~np.isnan(self.values[:, column]))
        ]

    def chart(
        self, title: str = "", *, annotations: Sequence[Annotation] = (), thresholds: Sequence[Threshold] = ()
    ) -> Chart:
        """The picture; a place without a sample is a gap."""
        times, columns = self.times.astype(np.float64), np.ascontiguousarray(self.values.T)
        lines = [Line(name, times, column) for name, column in zip(self.names, columns, strict=True)]
        return Chart(title or self.query, self.unit, lines, annotations, thresholds, self.window)

    def table(self, title: str = "") -> Table:
        """One row a series: least, mean, greatest and last value, and how many of the expected samples are there."""
        rows = [[name, *self._digest(column)] for column, name in enumerate(self.names)]
        return Table(title, ["series", "min", "mean", "max", "last", "samples"], rows)

    def _digest(self, column: int) -> list[str]:
        values = self.values[:, column]
        seen = values[~np.isnan(values)]
        count = f"{len(seen)}/{len(values)}"
        if not len(seen):
            return ["no data", "", "", "", count]
        with np.errstate(invalid="ignore", over="ignore"):  # the mean of +Inf and -Inf is NaN, and is shown so
            told = [seen.min(), seen.mean(), seen.max(), seen[-1]]
        return [*(quantity(float(value), self.unit) for value in told), count]

    def _repr_html_(self) -> str:
        return self.chart()._repr_html_() + self.table()._repr_html_()

    def __str__(self) -> str:
        return f"{self.chart()}\n\n{self.table()}"

    __repr__ = __str__


def _name(labels: Mapping[str, str], keys: Sequence[str]) -> str:
    metric = labels.get("__name__", "") if "__name__" in keys else ""
    pairs = [f'{key}="{_quoted(labels[key])}"' for key in keys if key in labels and key != "__name__"]
    return metric + (f"{{{', '.join(pairs)}}}" if pairs else "")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _last(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    ends = [*starts[1:], len(values)]
    found = np.full((len(starts), values.shape[1]), np.nan)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for moment in values[start:end]:
            found[row] = np.where(np.isnan(moment), found[row], moment)
    return found


def _sum(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    seen = np.add.reduceat(~np.isnan(values), starts, axis=0, dtype=np.int64)
    return np.where(seen > 0, np.add.reduceat(np.where(np.isnan(values), 0.0, values), starts, axis=0), np.nan)


def _mean(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    seen = np.add.reduceat(~np.isnan(values), starts, axis=0, dtype=np.int64)
    sums = np.add.reduceat(np.where(np.isnan(values), 0.0, values), starts, axis=0)
    return np.where(seen > 0, sums / np.maximum(seen, 1), np.nan)


_REDUCE: dict[How, Callable[[NDArray[np.float64], NDArray[np.intp]], NDArray[np.float64]]] = {
    "mean": _mean,
    "min": lambda values, starts: np.fmin.reduceat(values, starts, axis=0),
    "max": lambda values, starts: np.fmax.reduceat(values, starts, axis=0),
    "sum": _sum,
    "last": _last,
}
