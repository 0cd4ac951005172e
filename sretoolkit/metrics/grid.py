"""The moments at which a range is looked at: evenly spaced, the last one at the window's end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from sretoolkit.clock import Clock
from sretoolkit.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS = 240  # about one for every three pixels of a chart
_DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, _DAY)


@dataclass(frozen=True)
class Grid:
    """``count`` moments, ``step`` apart, from ``first`` on: whole milliseconds since the epoch, UTC."""

    first: int
    step: int
    count: int

    @classmethod
    def of(
        cls,
        *,
        window: timedelta,
        step: timedelta | None = None,
        end: datetime | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """The grid of a window that ends at ``end`` (now); without ``step`` one of about 240 points.

        A window that is no multiple of the step begins a little later than asked. Raises `ConfigError` for a window or
        step that is not positive, or a step longer than the window.
        """
        for name, given in (("window", window), ("step", step or window)):
            if not isinstance(given, timedelta) or given < timedelta(milliseconds=1):
                raise ConfigError(f"the {name} must be a duration, not {given!r}", hint="write timedelta(hours=1)")
        end = end or (clock or Clock()).now()
        end = end if end.tzinfo else end.replace(tzinfo=UTC)
        last, length = _moment(end), _milliseconds(window)
        size = _milliseconds(step) if step else _chosen(length)
        if size > length:
            raise ConfigError(f"the step {step} is longer than the window {window}", hint="make the window longer")
        count = length // size + 1
        return cls(last - (count - 1) * size, size, count)

    @classmethod
    def at(cls, moment: datetime) -> Self:
        """A single moment."""
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return cls(_moment(moment), 1, 1)

    @property
    def last(self) -> int:
        """The last moment."""
        return self.first + (self.count - 1) * self.step

    @property
    def moments(self) -> NDArray[np.int64]:
        """All of them: int64 milliseconds."""
        import numpy as np

        return self.first + np.arange(self.count, dtype=np.int64) * self.step

    def chunks(self, most: int) -> Iterator[Grid]:
        """The grid in pieces of about equal size, none of more than ``most`` moments."""
        pieces = -(-self.count // most)
        bounds = [self.count * piece // pieces for piece in range(pieces + 1)]
        for start, stop in pairwise(bounds):
            yield Grid(self.first + start * self.step, self.step, stop - start)

    def moved(self, by: int) -> Grid:
        """Every moment a little later (less than a step), without the one that falls out of the window."""
        return Grid(self.first + by, self.step, max(1, self.count - 1)) if by else self

    def __str__(self) -> str:
        start, end = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at) for at in (self.first, self.last))
        return (
            f"{start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC"
            if self.count > 1
            else f"{end:%Y-%m-%d %H:%M:%S} UTC"
        )


def _moment(moment: datetime) -> int:
    """Never later than the moment itself: a window does not reach beyond its end."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _chosen(length: int) -> int:
    """The first round step that gives no more than `POINTS`; whole days when the window is very long."""
    rough = length / 1000 / POINTS
    step = next((step for step in _STEPS if step >= rough), -(-int(rough) // _DAY) * _DAY)
    return min(step * 1000, length)
