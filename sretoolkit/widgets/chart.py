"""The live form of a chart: the same `Chart`, drawn by uPlot in the browser, with finer data when one zooms in."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets

from sretoolkit.chart import Chart, Line
from sretoolkit.chart.growth import grown
from sretoolkit.chart.scale import milliseconds, quantity, scales
from sretoolkit.report import plain
from sretoolkit.widgets.frame import Frame, framed
from sretoolkit.widgets.frontend import attended
from sretoolkit.widgets.latest import Latest

COLUMNS = 1000  # of what is sent first; who has a wider picture asks for more
_FOLDER = Path(__file__).parent

Detail = Callable[[datetime, datetime], Chart]


class Order(NamedTuple):
    """What a picture in the browser asked for: a window in milliseconds, in so many columns."""

    view: str
    number: int
    start: float
    end: float
    columns: int


@cache
def _file(*names: str) -> str:
    return "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in names)


class ChartView(anywidget.AnyWidget):
    """A chart that one can zoom and pan, with mouse or keyboard; in a record it is the chart's picture.

    ``detail(start, end)`` gives a chart with finer data of that window (lines are matched by name); without it the detail
    is what ``chart`` holds. It is called in a thread, and what it raises is shown below the picture. ``keep`` is for how
    long `append` keeps samples. ``live`` False makes it a picture, True a part of another live widget; None looks who is
    there. ``chart`` is what is shown now.
    """

    _esm = _file("uplot/uPlot.iife.min.js", "chart.js")
    _css = _file("uplot/uPlot.min.css", "chart.css")
    head = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    marks = traitlets.Bytes().tag(sync=True)

    def __init__(
        self, chart: Chart, *, detail: Detail | None = None, keep: timedelta | None = None, live: bool | None = None
    ) -> None:
        self._live = live
        self._detail = detail
        self._keep = keep
        self._lock = threading.Lock()
        self._worker = Latest(self._answer, name="chart detail")
        self.chart = chart
        super().__init__(**self._state(chart))
        self.on_msg(self._asked)

    def open(self) -> None:
        """Reach for the front end, where somebody looks on."""
        if attended() if self._live is None else self._live:
            super().open()

    def append(self, lines: Sequence[Line]) -> None:
        """Add new samples at the end of the lines of these names; may be called from any thread.

        Raises `ValueError` when a sample is not newer than its line; then nothing was added.
        """
        with self._lock:
            self.chart = grown(self.chart, lines, keep=self._keep)
            with self.hold_sync():
                for name, value in self._state(self.chart).items():
                    setattr(self, name, value)

    def _state(self, chart: Chart) -> dict[str, Any]:
        start, end = chart.span
        frame = framed([track.line for track in chart.tracks], start, end, COLUMNS)
        happened = sorted((milliseconds(time), plain(text)) for time, text in chart.annotations)
        head = {
            "title": plain(chart.title),
            "summary": plain(chart.summary),
            "note": plain(chart.note),
            "empty": "" if chart.tracks else chart.emptiness,
            "span": [start, end],
            "scales": [list(each) for each in scales(chart.unit)],
            "lines": [plain(track.name) for track in chart.tracks],
            "marks": [text for _, text in happened],
            "limits": [
                [float(value), f"{plain(label)} {quantity(value, chart.unit)}"]
                for value, label in chart.thresholds
                if math.isfinite(value)
            ],
            "columns": COLUMNS,
            "complete": frame.complete and self._detail is None,
        }
        return {"head": head, "data": _bytes(frame), "marks": np.array([at for at, _ in happened], float).tobytes()}

    def _asked(self, _: Any, content: Any, __: Any) -> None:
        order = _order(content)
        if order:
            self._worker.ask(order.view, order)

    def _answer(self, order: Order) -> None:
        told: dict[str, Any] = {"view": order.view, "number": order.number}
        try:
            frame = self._framed(order)
        except Exception as error:  # whatever a source raises is for whoever looks at the picture
            self.send({**told, "error": plain(f"{error}" or type(error).__name__)[:400]})
            return
        window = {"start": order.start, "end": order.end, "columns": order.columns}
        self.send({**told, **window, "complete": frame.complete and self._detail is None}, [_bytes(frame)])

    def _framed(self, order: Order) -> Frame:
        lines = [track.line for track in self.chart.tracks]
        if self._detail:
            finer = self._detail(_moment(order.start), _moment(order.end))
            if not isinstance(finer, Chart):
                raise TypeError(f"detail gave {type(finer).__name__}, not a Chart")
            lines = _like(lines, finer.series)
        return framed(lines, order.start, order.end, order.columns)

    def _repr_html_(self) -> str:
        return self.chart._repr_html_()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        picture = {"text/plain": str(self.chart), "text/html": self._repr_html_()}
        if self.comm is None:
            return picture, {}
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **picture}, metadata

    def __str__(self) -> str:
        return str(self.chart)


def _order(content: Any) -> Order | None:
    """What the browser asked, when it makes sense: whatever comes from there may be anything."""
    if not isinstance(content, Mapping) or content.get("ask") != "detail":
        return None
    try:
        start, end = float(content["start"]), float(content["end"])
        columns = min(max(int(content["columns"]), 50), 20_000)
        order = Order(str(content["view"])[:64], int(content["number"]), start, end, columns)
        _moment(start), _moment(end)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return order if start < end else None


def _like(lines: Sequence[Line], finer: Sequence[Line]) -> list[Line]:
    """The finer lines in the order of those that are shown, matched by name (the second of a name with the second)."""
    found, met = {}, Counter[str]()
    for line in finer:
        found[line.name, met[line.name]] = line
        met[line.name] += 1
    met.clear()
    matched = []
    for line in lines:
        matched.append(found.get((line.name, met[line.name]), Line(line.name, [], [])))
        met[line.name] += 1
    return matched


def _bytes(frame: Frame) -> bytes:
    return frame.table.astype("<f8", copy=False).tobytes()


def _moment(at: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
