"""Tables of one's own: CSV (also gzipped) and Parquet.

The first column of times is ``time``, ``timestamp`` or ``date``: ISO 8601 (without a zone: UTC) or epoch seconds,
milliseconds, microseconds or nanoseconds by magnitude. With a column ``value`` a row is one sample: ``metric`` names it
(the file's name where there is none) and every other column is a label. Otherwise each other column is a metric.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.windows import Samples

TIMES = ("time", "timestamp", "date")
MOST_BYTES = 1 << 30
_MAGNITUDES = ((1e17, 1e-6), (1e14, 1e-3), (1e11, 1.0), (0.0, 1e3))  # of epoch times; by what to multiply


class Unreadable(Exception):
    """The file is no such table; says where."""


class Table:
    """One file, read when it is asked: as it is then."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[int, float]]]:
        """Samples (milliseconds, value) by metric and labels, in the file's order. Raises `Unreadable`, `OSError`."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[int, float]]] = {}
        for number, row in enumerate(self._rows(), start=2):
            try:
                for key, time, value in self._samples(row):
                    found.setdefault(key, []).append((time, value))
            except (ValueError, TypeError) as error:
                raise Unreadable(f"row {number}: {error}") from error
        return found

    def select(self, selector: Selector, start: int, end: int) -> list[Samples]:
        """The series that a selector accepts, with their samples in (start, end]."""
        chosen = []
        for (metric, pairs), samples in self.series().items():
            labels = dict(pairs)
            if metric == selector.metric and selector.accepts(labels):
                inside = [sample for sample in samples if start < sample[0] <= end]
                chosen.append(Samples.of(labels, [time for time, _ in inside], [value for _, value in inside]))
        return chosen

    def _samples(self, row: Mapping[str, Any]) -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], int, float]]:
        time = next((name for name in TIMES if name in row), None)
        if time is None:
            raise ValueError(f"there is no column {' or '.join(TIMES)}, only {', '.join(map(str, row))}")
        moment = _moment(row[time])
        if "value" in row:
            labels = {
                name: str(value)
                for name, value in row.items()
                if name not in (time, "value", "metric") and value not in (None, "")
            }
            metric = str(row.get("metric") or self.path.name.partition(".")[0])
            yield (metric, tuple(sorted(labels.items()))), moment, _value(row["value"])
        else:
            for name, value in row.items():
                if name != time:
                    yield (str(name), ()), moment, _value(value)

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if self.path.stat().st_size > MOST_BYTES:
            raise Unreadable(
                f"it is larger than {MOST_BYTES >> 20} MiB: write it into a database, or aggregate it first"
            )
        if self.path.suffix == ".parquet":
            yield from _parquet(self.path)
            return
        with self.path.open("rb") as raw, gzip.open(raw) if self.path.suffix == ".gz" else raw as binary:
            text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
            try:
                reader = csv.DictReader(_bounded(text), strict=True)
                for row in reader:
                    if None in row:
                        raise Unreadable(f"row {reader.line_num} has more cells than the header names")
                    yield row
            except (csv.Error, UnicodeDecodeError, EOFError) as error:
                raise Unreadable(str(error)) from error


def _bounded(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a file that may be packed: an end for those without one."""
    size = 0
    for line in lines:
        size += len(line)
        if size > MOST_BYTES:
            raise Unreadable(f"unpacked it is larger than {MOST_BYTES >> 20} MiB")
        yield line


def _parquet(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise Unreadable("reading Parquet needs the extra: pip install 'sretoolkit[parquet]'") from error
    try:
        rows: list[Mapping[str, Any]] = parquet.read_table(path).to_pylist()
    except ArrowInvalid as error:
        raise Unreadable(str(error)) from error
    return rows


def _moment(value: Any) -> int:
    if isinstance(value, datetime):
        return round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    try:
        number = float(value)
    except ValueError:
        moment = datetime.fromisoformat(value)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no time")
    return round(number * next(factor for least, factor in _MAGNITUDES if abs(number) >= least))


def _value(text: Any) -> float:
    return math.nan if text is None or text == "" else float(text)
