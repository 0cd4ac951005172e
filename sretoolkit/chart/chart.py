"""Lines over one window, with what happened and what must not be crossed: as data, as text, as a picture."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from sretoolkit.chart.drawing import LISTED, WIDTH, Drawing
from sretoolkit.chart.scale import clock, milliseconds, period, quantity
from sretoolkit.chart.track import Line, Track, infinities, spark, tracked
from sretoolkit.report import escape, plain

DRAWN = 24  # more lines than this are no picture; the highest are drawn, and the note says so


class Annotation(NamedTuple):
    """Something that happened, such as a deploy."""

    time: datetime
    text: str


class Threshold(NamedTuple):
    """A value not to be crossed, in the chart's unit."""

    value: float
    label: str


@dataclass(frozen=True, eq=False)
class Chart:
    """Lines over one window, with what happened and what must not be crossed.

    ``unit`` is "s", "B" (or "bytes"), "ratio" (shown as percent), "%" or any other word; times without a zone are UTC.
    Without ``window`` the lines' own span is shown.
    """

    title: str
    unit: str = ""
    series: Sequence[Line] = ()
    annotations: Sequence[Annotation] = ()
    thresholds: Sequence[Threshold] = ()
    window: tuple[datetime, datetime] | None = None

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.svg().encode()).decode()
        return (
            f'<img src="data:image/svg+xml;base64,{picture}" alt="{escape(self.summary)}" '
            f'style="max-width:100%;width:{WIDTH}px;height:auto;display:block;margin:8px 0">'
        )

    def svg(self) -> str:
        """The picture itself."""
        return Drawing(self).svg()

    def __str__(self) -> str:
        start, end = self.span
        lines = [f"{plain(self.title)}  {period(start, end)}"]
        width = max((len(plain(track.name)) for track in self.tracks), default=0)
        for track in self.tracks:
            words = "  ".join([*self.extremes(track), self.ended(track)])
            lines.append(f"  {plain(track.name).ljust(width)}  {spark(track, start, end)}  {words}".rstrip())
        if not self.tracks:
            lines.append(f"  {self.emptiness}")
        lines += [f"  {self.note}"] if self.note else []
        lines += [f"  limit {plain(label)}: {quantity(value, self.unit)}" for value, label in self.thresholds]
        lines += [f"  {clock(milliseconds(time))} {plain(text)}" for time, text in self.annotations]
        return "\n".join(lines)

    __repr__ = __str__

    @cached_property
    def alive(self) -> list[Track]:
        """The lines that have a value in the window."""
        found = (tracked(line, *self.span) for line in self.series)
        return [track for track in found if track]

    @cached_property
    def tracks(self) -> list[Track]:
        """The lines to draw: all, as given, or the highest, highest first, when they are too many to list."""
        if len(self.alive) <= LISTED:
            return self.alive
        return sorted(self.alive, key=lambda track: track.high, reverse=True)[:DRAWN]

    @cached_property
    def span(self) -> tuple[float, float]:
        """The window in milliseconds; never empty."""
        if self.window:
            start, end = (milliseconds(time) for time in self.window)
        else:
            spans = [(float(line.times[0]), float(line.times[-1])) for line in self.series if len(line.times)]
            start = min((first for first, _ in spans), default=0.0)
            end = max((last for _, last in spans), default=0.0)
        return start, max(end, start + 1000)

    @cached_property
    def infinite(self) -> int:
        """How many values no picture can show."""
        return sum(infinities(line) for line in self.series)

    @property
    def emptiness(self) -> str:
        """What to say where nothing is drawn."""
        return "no finite value" if self.infinite and not self.tracks else "no data"

    @property
    def note(self) -> str:
        """What the picture does not show."""
        notes = []
        if (hidden := len(self.alive) - len(self.tracks)) > 0:
            notes.append(f"the {len(self.tracks)} highest of {len(self.alive)} series are drawn, {hidden} are not")
        if empty := len(self.series) - len(self.alive):
            notes.append(f"{empty} series without a value")
        if self.infinite:
            notes.append(f"{self.infinite} infinite values are not drawn")
        return "; ".join(notes)

    @property
    def summary(self) -> str:
        """The picture in words, for those who cannot see it."""
        told = [f"{track.name}: {', '.join(self.extremes(track))}" for track in self.tracks[:LISTED]]
        return "; ".join([f"Chart: {self.title}, {period(*self.span)}", *(told or [self.emptiness])])

    def extremes(self, track: Track) -> list[str]:
        """What the legend says of a line."""
        values = {"min": track.low, "max": track.high, "last": track.last}
        return [f"{label} {quantity(value, self.unit)}" for label, value in values.items()]

    def ended(self, track: Track) -> str:
        """A word on a line that stops before the window does; it is easily overlooked."""
        start, end = self.span
        patience = max(0.03 * (end - start), 1.5 * track.spacing)
        return f"(ended {clock(track.until)})" if track.until < end - patience else ""
