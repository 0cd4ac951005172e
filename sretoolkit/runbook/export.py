"""Letting another program keep the times of a schedule: one plug-in a program (`exports/`).

What is exported calls ``sretoolkit schedule fire NAME`` and holds no parameter: the schedule stays in the store, with its
policies, its history and who made it, and a tick that a server has asked for is not run twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from sretoolkit.config import Config
from sretoolkit.errors import ConfigError
from sretoolkit.plugins import Plugins
from sretoolkit.report import plain
from sretoolkit.runbook.schedule import Schedule


@dataclass(frozen=True)
class Export(ABC):
    """One schedule for one program. ``program`` is how sretoolkit is called there: a path, or a name in its PATH."""

    schedule: Schedule
    config: Config
    program: str = "sretoolkit"

    @abstractmethod
    def files(self) -> dict[str, str]:
        """The files by name; raises `ConfigError` for what that program cannot keep."""

    @property
    def command(self) -> list[str]:
        """What is to be run at each tick; raises `ConfigError` for what could not stand in one line anywhere."""
        if not self.program.isprintable():
            raise ConfigError(f"{self.program!r} is no program's name", hint="--program PATH")
        return [self.program, "schedule", "fire", self.schedule.checked().name]

    @property
    def title(self) -> str:
        """One line for people, whatever the runbook is called."""
        return " ".join(plain(f"sretoolkit: {self.schedule.runbook} ({self.schedule.mode})").split())


EXPORTS: Plugins[Export] = Plugins("sretoolkit.runbook.exports", Export)  # type: ignore[type-abstract]


def expression(schedule: Schedule) -> str:
    """Five fields of numbers that every program reads alike; raises `ConfigError` where there are none."""
    times = schedule.times
    fields = times.fields()
    if fields["day"] and fields["weekday"] and not times.either_day:
        raise ConfigError(
            f"{schedule.cron!r} asks for both a day of the month and a weekday, and others take either of them",
            hint="let `sretoolkit serve` keep its times",
        )
    return " ".join("*" if values is None else _spelt(values) for values in fields.values())


def _spelt(values: tuple[int, ...]) -> str:
    """1,2,3,7 as 1-3,7."""
    spans: list[list[int]] = []
    for value in values:
        if spans and value == spans[-1][-1] + 1:
            spans[-1].append(value)
        else:
            spans.append([value])
    return ",".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
