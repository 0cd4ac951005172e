"""What a judge is handed: the same thing measured at the candidate and at the old version, instance by instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["counts", "gauge"]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Requests, and those of them that were bad: two matrices, one row an instance, one column an interval.

    NaN = no sample, which is never 0. Raises `ValueError` when the shapes differ.
    """

    total: Matrix
    bad: Matrix

    def __post_init__(self) -> None:
        if self.total.ndim != 2 or self.total.shape != self.bad.shape:
            raise ValueError(f"totals of shape {self.total.shape} and bad ones of shape {self.bad.shape} do not fit")

    @property
    def known(self) -> Counts:
        """The same with 0 requests where there is no sample: an interval that says nothing."""
        gone = np.isnan(self.total) | np.isnan(self.bad)
        return Counts(np.where(gone, 0.0, self.total), np.where(gone, 0.0, self.bad))

    @property
    def samples(self) -> int:
        """How many intervals of an instance have a sample."""
        return int(np.count_nonzero(~(np.isnan(self.total) | np.isnan(self.bad))))


@dataclass(frozen=True, eq=False)
class Gauges:
    """Values such as a share of the CPU: one row an instance, one column an interval; NaN = no sample."""

    value: Matrix

    @property
    def samples(self) -> int:
        """How many intervals of an instance have a sample."""
        return int(np.count_nonzero(~np.isnan(self.value)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """One metric on both sides since the candidate gets requests, and before that, where it is known.

    ``candidate`` and ``baseline`` have the same columns, ``interval`` apart; the old version's history of the same instances
    is ``baseline_before``, that of the candidate's own instances (where they were there before) ``candidate_before``.
    ``trouble``: why there is nothing ("" = there is): the source does not answer, or it has no data.
    """

    metric: str
    kind: Kind
    candidate: Counts | Gauges
    baseline: Counts | Gauges
    interval: timedelta
    candidate_before: Counts | Gauges | None = None
    baseline_before: Counts | Gauges | None = None
    trouble: str = ""
