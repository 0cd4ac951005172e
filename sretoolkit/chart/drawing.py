"""The picture of a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sretoolkit.chart.decimation import columns, needed
from sretoolkit.chart.scale import milliseconds, period, quantity, scale, ticks, time_ticks
from sretoolkit.chart.track import Track
from sretoolkit.report import escape, plain

if TYPE_CHECKING:
    from sretoolkit.chart.chart import Chart

WIDTH, _LEFT, _RIGHT, _TOP, _HEIGHT = 900, 70, 884, 48, 210  # of the picture and of the plot in it, in pixels
_BOTTOM = _TOP + _HEIGHT
LISTED = 12  # in the legend
_CHARACTER = 7.2  # pixels of a text's
_COLOURS = ("#1f6fb4", "#d1590a", "#178a68", "#8a4fb0", "#c2287f", "#5b7f0d", "#a8760a", "#5a6570")
_INK, _FAINT, _RULE, _ALARM, _MARK = "#1d2733", "#566270", "#dfe4e9", "#c01c28", "#4b3fa7"


class Drawing:
    """One picture in the making: scales first, then layers from back to front."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.tracks = chart.tracks
        self.start, self.end = chart.span
        values = [value for track in self.tracks for value in (track.low, track.high)]
        values += [value for value, _ in chart.thresholds if math.isfinite(value)]
        self.factor, self.suffix = scale(max((abs(value) for value in values), default=1.0), chart.unit)
        self.ticks = ticks(min(values, default=0.0) / self.factor, max(values, default=0.0) / self.factor)

    def x(self, time: float) -> float:
        """Where a time is, in pixels."""
        return _LEFT + (time - self.start) / (self.end - self.start) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        """Where a value is, in pixels."""
        low, high = self.ticks[0], self.ticks[-1]
        return _BOTTOM - (value / self.factor - low) / (high - low) * _HEIGHT

    def svg(self) -> str:
        """The whole picture."""
        legend, bottom = self._legend()
        body = [*self._axes(), *self._lines(), *self._thresholds(), *self._annotations(), *legend]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom}" viewBox="0 0 {WIDTH} {bottom}" '
            f'font-family="DejaVu Sans,Verdana,Helvetica,Arial,sans-serif" font-size="12" fill="{_INK}">'
            f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{bottom - 1}" rx="6" fill="#fcfdfe" stroke="#b9c2cc"/>'
            f'<text x="16" y="25" font-size="15" font-weight="bold">{escape(_cut(self.chart.title, 70))}</text>'
            f'<text x="{_RIGHT}" y="25" text-anchor="end" fill="{_FAINT}">{period(self.start, self.end)}</text>'
            f"{''.join(body)}</svg>"
        )

    def _axes(self) -> Iterator[str]:
        decimals = max(0, -math.floor(math.log10(self.ticks[1] - self.ticks[0]) + 1e-9))
        for tick in self.ticks if self.tracks else ():
            y = self.y(tick * self.factor)
            label = f"{tick:.{decimals}f}" if decimals < 7 else f"{tick:.3g}"
            yield _rule((_LEFT, _RIGHT), (y, y), _RULE)
            yield _text(_LEFT - 8, y + 4, f"{label}{self.suffix}", fill=_FAINT, anchor="end")
        for time, label in time_ticks(self.start, self.end):
            x = self.x(time)
            yield _rule((x, x), (_TOP, _BOTTOM), _RULE)
            most = WIDTH - 4 - _CHARACTER * len(label) / 2  # the last one is whole, if a little beside its rule
            yield _text(min(x, most), _BOTTOM + 17, label, fill=_FAINT, anchor="middle")
        yield _rule((_LEFT, _RIGHT), (_BOTTOM, _BOTTOM), _FAINT)

    def _lines(self) -> Iterator[str]:
        lines = [list(self._strokes(track)) for track in self.tracks]
        yield from self._silence([(stroke[0][0], stroke[-1][0]) for line in lines for stroke in line])
        for number in reversed(range(len(lines))):
            colour, dash = _ink(number)
            for stroke in lines[number]:
                if len(stroke) == 1:
                    yield f'<circle cx="{stroke[0][0]:.1f}" cy="{stroke[0][1]:.1f}" r="2.5" fill="{colour}"/>'
                    continue
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in stroke)
                style = f'stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"{dash}'
                yield f'<polyline points="{path}" fill="none" {style}/>'

    def _strokes(self, track: Track) -> Iterator[list[tuple[float, float]]]:
        """The line in pixels, in pieces where there is a gap; at most four points a pixel column."""
        width = _RIGHT - _LEFT
        kept = needed(track.values, columns(track.times, self.start, self.end, width))
        low, high = self.ticks[0], self.ticks[-1]
        across = _LEFT + (track.times[kept] - self.start) / (self.end - self.start) * width
        down = _BOTTOM - (track.values[kept] / self.factor - low) / (high - low) * _HEIGHT
        stroke: list[tuple[float, float]] = []
        for x, y in zip(across.tolist(), down.tolist(), strict=True):
            if math.isnan(y):
                yield stroke
                stroke = []
            else:
                stroke.append((x, y))
        yield stroke

    def _silence(self, covered: list[tuple[float, float]]) -> Iterator[str]:
        """Shade the stretches in which no line has a value."""
        at = float(_LEFT)
        spacing = min((track.spacing for track in self.tracks), default=0.0)
        patience = max(10.0, 1.5 * (self.x(self.start + spacing) - _LEFT))
        for left, right in [*sorted(covered), (float(_RIGHT), float(_RIGHT))]:
            if left - at > patience:
                yield f'<rect x="{at:.1f}" y="{_TOP}" width="{left - at:.1f}" height="{_HEIGHT}" fill="#e9ecef"/>'
                if left - at > 56:
                    size = 12 if self.tracks else 20
                    yield _text((at + left) / 2, (_TOP + _BOTTOM) / 2, self.chart.emptiness, anchor="middle", size=size)
            at = max(at, right)

    def _thresholds(self) -> Iterator[str]:
        for value, label in self.chart.thresholds if self.tracks else ():
            if math.isfinite(value):
                y = self.y(value)
                yield _rule((_LEFT, _RIGHT), (y, y), _ALARM, dash="7 4")
                text = f"{_cut(label, 40)} {quantity(value, self.chart.unit)}"
                yield _text(_RIGHT - 4, y - 5 if y > _TOP + 16 else y + 14, text, fill=_ALARM, anchor="end", halo=True)

    def _annotations(self) -> Iterator[str]:
        """A vertical rule each; texts that would overlap go to the next of three rows."""
        ends = [float(_LEFT)] * 3
        for time, text in sorted(self.chart.annotations, key=lambda annotation: milliseconds(annotation[0])):
            x = self.x(milliseconds(time))
            if not _LEFT <= x <= _RIGHT:
                continue
            label = _cut(text, 36)
            width = _CHARACTER * len(label) + 8
            row = next((row for row in range(3) if ends[row] <= x), 2)
            ends[row] = x + width
            yield _rule((x, x), (_TOP, _BOTTOM), _MARK, dash="2 3")
            at, anchor = (x - 4, "end") if x + width > _RIGHT else (x + 4, "start")
            yield _text(at, _TOP + 12 + 15 * row, label, fill=_MARK, anchor=anchor, halo=True)

    def _legend(self) -> tuple[list[str], int]:
        """The rows below the plot, and where the picture ends."""
        rows, y = [], _BOTTOM + 42
        for number, track in enumerate(self.tracks[:LISTED]):
            colour, dash = _ink(number)
            rows.append(f'<line x1="18" x2="42" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="3"{dash}/>')
            ended = self.chart.ended(track)
            rows.append(_text(50, y, _cut(track.name, 38 if ended else 62)))
            rows.append(_text(516, y, ended, fill=_ALARM, anchor="end"))
            rows += [
                _text(x, y, words, fill=_FAINT, anchor="end")
                for x, words in zip((638, 761, _RIGHT), self.chart.extremes(track), strict=True)
            ]
            y += 19
        unlisted = len(self.tracks) - LISTED
        notes = [f"{unlisted} more lines are not listed"] if unlisted > 0 else []
        if notes := [*notes, *([self.chart.note] if self.chart.note else [])]:
            rows.append(_text(18, y, "; ".join(notes), fill=_FAINT))
            y += 19
        return rows, y - 5


def _ink(number: int) -> tuple[str, str]:
    dash = ("", ' stroke-dasharray="6 3"', ' stroke-dasharray="2 2"')[number // len(_COLOURS) % 3]
    return _COLOURS[number % len(_COLOURS)], dash


def _cut(text: str, most: int) -> str:
    shown = plain(text)
    return shown if len(shown) <= most else shown[: max(1, most - 1)] + "…"


def _rule(x: tuple[float, float], y: tuple[float, float], colour: str, *, dash: str = "") -> str:
    ends = f'x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}"'
    return f'<line {ends} stroke="{colour}"' + (f' stroke-dasharray="{dash}"/>' if dash else "/>")


def _text(
    x: float, y: float, text: str, *, fill: str = _INK, anchor: str = "start", size: int = 12, halo: bool = False
) -> str:
    outline = ' stroke="#fcfdfe" stroke-width="3" paint-order="stroke"' if halo else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}" font-size="{size}"{outline}>{escape(text)}</text>'
