"""Indicators computed here, from raw samples: exact, whatever the server would make of its own functions.

A value at t is of the samples in (t - window, t]. The increase of a cumulative counter is the sum of the steps that end
in that window, a step down (a restart) counting as a step from 0; the first sample ever seen counts nothing, for what
came before it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from sretoolkit.errors import NoData
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.series import Kind, SeriesFrame
from sretoolkit.metrics.sli import SLI, Counter

Group = tuple[str, ...]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """The raw samples of one series: int64 milliseconds, ascending and distinct, and float64 values without NaN."""

    labels: Mapping[str, str]
    times: NDArray[np.int64]
    values: Values

    @classmethod
    def of(cls, labels: Mapping[str, str], times: Iterable[int], values: Iterable[float]) -> Samples:
        """From any order: sorted, of two at the same time the later given kept, NaN left out."""
        at = np.fromiter(times, dtype=np.int64)
        seen = np.fromiter(values, dtype=np.float64)
        order = np.argsort(at, kind="stable")
        at, seen = at[order], seen[order]
        keep = np.append(at[1:] != at[:-1], True) & ~np.isnan(seen) if len(at) else np.zeros(0, dtype=bool)
        return cls(labels, at[keep], seen[keep])


Fetch = Callable[[Selector, int, int], Sequence[Samples]]


def from_samples(
    sli: SLI, grid: Grid, fetch: Fetch, *, source: str, counter: Counter, lookback: timedelta
) -> SeriesFrame:
    """The indicator from raw samples: ``fetch(selector, start, end)`` gives those in (start, end] (milliseconds).

    ``counter`` is the system's habit where the SLI says nothing; ``lookback`` is how much earlier than the first window
    the last sample before it may lie. Raises `NoData`.
    """
    width = sli.window // timedelta(milliseconds=1)
    before, first = grid.first - width - lookback // timedelta(milliseconds=1), grid.first - width
    kept: Counter = sli.counter or counter

    def windowed(selector: Selector | None, reduce: Callable[[Samples], Values]) -> dict[Group, Values]:
        assert selector is not None  # the SLI's constructor saw to it
        series = fetch(selector, before if kept == "cumulative" else first, grid.last)
        return grouped(((group_of(one.labels, sli.by), reduce(one)) for one in series), np.add)

    def increase(one: Samples) -> Values:
        return increases(one, grid, width, cumulative=kept == "cumulative")

    if sli.kind == "error_ratio":
        total = windowed(sli.total, increase)
        values = ratio(windowed(sli.bad, increase), total, absent_is_zero=sli.bad_is_part)
    elif sli.kind == "throughput":
        values = {group: found / sli.window.total_seconds() for group, found in windowed(sli.total, increase).items()}
    else:
        values = _of_gauges(sli, grid, width, fetch)
    return frame_of(sli, grid, values, source=source)


def _of_gauges(sli: SLI, grid: Grid, width: int, fetch: Fetch) -> dict[Group, Values]:
    assert sli.metric is not None
    series = fetch(sli.metric, grid.first - width, grid.last)
    groups = [(group_of(one.labels, sli.by), one) for one in series]
    if sli.kind == "latency_quantile":
        merged = {group: _merged([one for own, one in groups if own == group]) for group, _ in groups}
        return {
            group: reduced(one, grid, width, lambda part: float(np.quantile(part, sli.quantile)))
            for group, one in merged.items()
        }
    if sli.kind == "availability":
        merged = {group: _merged([one for own, one in groups if own == group]) for group, _ in groups}
        return {group: reduced(one, grid, width, lambda part: float(part.mean())) for group, one in merged.items()}
    greatest = grouped(
        ((group, reduced(one, grid, width, lambda part: float(part.max()))) for group, one in groups), np.fmax
    )
    if sli.capacity is None:
        return greatest
    last = fetch(sli.capacity, grid.first - width, grid.last)
    most = grouped(
        ((group_of(one.labels, sli.by), reduced(one, grid, width, lambda part: float(part[-1]))) for one in last),
        np.add,
    )
    return ratio(greatest, most, absent_is_zero=False)


def increases(one: Samples, grid: Grid, width: int, *, cumulative: bool) -> Values:
    """What a counter grew by in the ``width`` milliseconds up to each moment; NaN where it has no sample."""
    steps, times = one.values, one.times
    if cumulative:
        change = np.diff(steps)
        steps, times = np.where(change >= 0, change, steps[1:]), times[1:]
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    moments = grid.moments
    low, high = (np.searchsorted(times, at, side="right") for at in (moments - width, moments))
    return np.where(high > low, sums[high] - sums[low], np.nan)


def reduced(one: Samples, grid: Grid, width: int, reduce: Callable[[Values], float]) -> Values:
    """``reduce`` of the samples in the ``width`` milliseconds up to each moment; NaN where there is none."""
    moments = grid.moments
    low, high = (np.searchsorted(one.times, at, side="right") for at in (moments - width, moments))
    found = [reduce(one.values[a:b]) if b > a else np.nan for a, b in zip(low, high, strict=True)]
    return np.array(found, dtype=np.float64)


def grouped(found: Iterable[tuple[Group, Values]], join: np.ufunc) -> dict[Group, Values]:
    """Series of one group joined moment by moment (`np.add`, `np.fmax`); a missing one leaves the others' value."""
    groups: dict[Group, Values] = {}
    for group, values in found:
        known = groups.get(group)
        if known is None:
            groups[group] = values
        else:
            joined = join(np.nan_to_num(known), np.nan_to_num(values)) if join is np.add else join(known, values)
            groups[group] = np.where(np.isnan(known) & np.isnan(values), np.nan, joined)
    return groups


def ratio(part: Mapping[Group, Values], whole: Mapping[Group, Values], *, absent_is_zero: bool) -> dict[Group, Values]:
    """``part / whole`` for each group of the whole; NaN where the whole is 0 or missing.

    ``absent_is_zero``: where the whole has samples and the part has none, the part is 0 (it is selected from the whole).
    """
    found = {}
    for group, total in whole.items():
        some = part.get(group, np.full_like(total, np.nan))
        if absent_is_zero:
            some = np.where(np.isnan(some) & ~np.isnan(total), 0.0, some)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[group] = np.where(total == 0, np.nan, some / total)
    return found


def group_of(labels: Mapping[str, str], by: Sequence[str]) -> Group:
    """The values of the labels that are told apart; "" for a label that is not there."""
    return tuple(labels.get(label, "") for label in by)


def frame_of(
    sli: SLI, grid: Grid, values: Mapping[Group, Values], *, source: str, query: str = "",
    complete: bool = True, warnings: Sequence[str] = (),
) -> SeriesFrame:  # fmt: skip
    """The frame of an indicator: one column a group, sorted; raises `NoData` when no group has a value."""
    groups = sorted(values)
    matrix = np.column_stack([values[group] for group in groups]) if groups else np.empty((grid.count, 0))
    if not len(groups) or np.isnan(matrix).all():
        text = f"{source} has no data for the SLI {sli.name} ({grid})"
        hint = "are the names right (sli.explain(source) shows the query), and was there traffic in that window?"
        raise NoData(text, source=source, query=query or sli.name, hint=hint)
    undefined = int(np.isnan(matrix).sum())
    notes = (
        [f"{undefined} of {matrix.size} values are missing: no samples, or nothing to divide by"] if undefined else []
    )
    return SeriesFrame(
        times=grid.moments,
        values=matrix,
        labels=[dict(zip(sli.by, group, strict=True)) for group in groups],
        interval=timedelta(milliseconds=grid.step),
        unit=unit_of(sli),
        kind=_KINDS[sli.kind],
        complete=complete,
        warnings=[*warnings, *notes],
        query=query or sli.name,
    )


_KINDS: dict[str, Kind] = {
    "error_ratio": "ratio",
    "latency_quantile": "quantile",
    "throughput": "gauge",
    "saturation": "gauge",
    "availability": "ratio",
}


def unit_of(sli: SLI) -> str:
    """The unit of an indicator's values."""
    if sli.kind in ("error_ratio", "availability") or (sli.kind == "saturation" and sli.capacity):
        return "ratio"
    return sli.unit or ("/s" if sli.kind == "throughput" else "")


def _merged(series: Sequence[Samples]) -> Samples:
    """The samples of several series in the order of their times; equal times are kept side by side."""
    times = np.concatenate([one.times for one in series])
    values = np.concatenate([one.values for one in series])
    order = np.argsort(times, kind="stable")
    return Samples({}, times[order], values[order])


def gathered(
    grid: Grid, series: Sequence[Samples], *, source: str, query: str, unit: str = "", kind: Kind = "gauge",
    complete: bool = True, warnings: Sequence[str] = (),
) -> SeriesFrame:  # fmt: skip
    """Irregular samples on a grid: at each moment the last sample of the step before it, (t - step, t].

    Series without a sample in the window are left out; raises `NoData` when that leaves none.
    """
    columns = [(one.labels, reduced(one, grid, grid.step, lambda part: float(part[-1]))) for one in series]
    columns = [(labels, values) for labels, values in columns if not np.isnan(values).all()]
    if not columns:
        hint = "check the names in the query; was anything collected in that window?"
        raise NoData(f"{source} has no data for {query} ({grid})", source=source, query=query, hint=hint)
    crowded = sum(len(one.times) for one in series) > sum(int((~np.isnan(values)).sum()) for _, values in columns)
    note = ["several samples in a step: the last one is shown"] if crowded else []
    return SeriesFrame(
        times=grid.moments,
        values=np.column_stack([values for _, values in columns]),
        labels=[dict(labels) for labels, _ in columns],
        interval=timedelta(milliseconds=grid.step),
        unit=unit,
        kind=kind,
        complete=complete,
        warnings=[*warnings, *note],
        query=query,
    )
