"""The one shape in which every monitoring system's answer is kept: a time grid, a matrix and a label table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    def pandas(self) -> pd.DataFrame:
        """A data frame: index ``time`` (UTC), one column a series, a column level for each label name.

        Raises `ConfigError` when pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            hint = "pip install 'sretoolkit[pandas]'; .long() and .values need nothing more"
            raise ConfigError("a data frame needs pandas, which is not installed", hint=hint) from error
        index = pd.to_datetime(self.times, unit="ms", utc=True).rename("time")
        keys = sorted({key for labels in self.labels for key in labels})
        if keys:
            rows = [tuple(labels.get(key, "") for key in keys) for labels in self.labels]
            return pd.DataFrame(self.values, index=index, columns=pd.MultiIndex.from_tuples(rows, names=keys))
        return pd.DataFrame(self.values, index=index, columns=self.names)

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
        times = self.times.tolist()
        lines = [Line(name, times, self.values[:, column].tolist()) for column, name in enumerate(self.names)]
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
