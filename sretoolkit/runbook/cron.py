"""When something is due: five fields of cron in a time zone, as moments in UTC.

Where a clock is put forward, a time of day that does not exist that day is due at the end of the gap, once. Where it is put
back, a time of day that comes twice is due the first time alone; what is due every hour or every few minutes keeps its
distance and is due in both hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sretoolkit.errors import ConfigError

if TYPE_CHECKING:
    from cronsim import CronSim

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_RANGES = {"minute": range(60), "hour": range(24), "day": range(1, 32), "month": range(1, 13), "weekday": range(7)}


class Cron:
    """One expression in one zone; raises `ConfigError` for what cannot be read or never comes."""

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.expression = " ".join(_ALIASES.get(expression.strip().lower(), expression).split())
        try:
            self.zone = ZoneInfo(zone)
        except (ValueError, OSError, KeyError) as error:  # KeyError: what is no zone, or no zone's name at all
            raise ConfigError(f"{zone!r} is no time zone", hint='write "UTC" or "Europe/Berlin"') from error
        if len(self.expression.split()) != 5:
            raise ConfigError(
                f"{expression!r} is no cron expression",
                hint='five fields: minute hour day month weekday, "30 2 * * 1-5"',
            )
        self._begin(datetime(2024, 1, 1, tzinfo=UTC))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The moments after this one, in UTC, each later than the one before."""
        last = moment
        for found in self._begin(moment):
            tick = found.astimezone(UTC)
            if tick > last:  # several times of day that do not exist are due at one moment
                last = tick
                yield tick

    def fields(self) -> dict[str, tuple[int, ...] | None]:
        """The values of minute, hour, day, month and weekday (0 = Sunday), None for any.

        Raises `ConfigError` for what other programs do not know: the last day, the second Tuesday.
        """
        found = self._begin(datetime(2024, 1, 1, tzinfo=UTC))
        weekdays = {each % 7 if isinstance(each, int) else each for each in found.weekdays}
        sets: tuple[set[Any], ...] = (found.minutes, found.hours, found.days, found.months, weekdays)
        values: dict[str, tuple[int, ...] | None] = {}
        for (name, whole), given in zip(_RANGES.items(), sets, strict=True):
            if not given <= set(whole):
                hint = "let `sretoolkit serve` keep its times"
                raise ConfigError(f"{self.expression!r} says what no other program knows ({name})", hint=hint)
            values[name] = None if given == set(whole) else tuple(sorted(each for each in whole if each in given))
        return values

    @property
    def either_day(self) -> bool:
        """Whether a day of the month or a day of the week is enough: cron's way when neither begins with a star."""
        return not self._begin(datetime(2024, 1, 1, tzinfo=UTC)).day_and

    def _begin(self, moment: datetime) -> CronSim:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as error:
            raise ConfigError(
                "schedules need what is not installed", hint="pip install 'sretoolkit[server]'"
            ) from error
        try:
            return CronSim(self.expression, moment.astimezone(self.zone))
        except CronSimError as error:
            raise ConfigError(
                f"{self.expression!r} is no cron expression: {error}",
                hint='five fields: minute hour day month weekday, "30 2 * * 1-5"',
            ) from error
