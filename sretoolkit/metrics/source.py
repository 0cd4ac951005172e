"""What every monitoring system looks like from here, and how to get one by name."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.errors import SourceError
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.plugins import Plugins

if TYPE_CHECKING:
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.report import Report

VERBS = ("health", "instant", "range")


class MetricSource:
    """One monitoring system. A plug-in overrides what its system can do; the rest refuses by name.

    ``own_options`` are the options in ``[sources.NAME]`` that only this kind knows; they come in ``endpoint.options``.
    Every method that asks raises `SourceUnavailable` (try again), `QueryError` (the question is wrong) or `NoData`.
    """

    own_options: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        endpoint.check_options(self.own_options)
        self.endpoint = endpoint
        self.clock = clock or Clock()

    @property
    def name(self) -> str:
        """As the user calls it."""
        return self.endpoint.name

    @property
    def capabilities(self) -> frozenset[str]:
        """Which of range, instant and health this system has."""
        return frozenset(verb for verb in VERBS if getattr(type(self), verb) is not getattr(MetricSource, verb))

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """The series that ``query`` selects, over a window that ends at ``end`` (now)."""
        raise self._lacks("range", query)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The same at one moment (now): a frame with one row."""
        raise self._lacks("instant", query)

    def health(self) -> Report:
        """What is wrong with the system itself; a system that is down is a finding here, not an error."""
        raise self._lacks("health")

    def version(self) -> str:
        """Of the system, as it says itself; "unknown" when it does not."""
        return "unknown"

    def close(self) -> None:
        """Give connections back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lacks(self, verb: str, query: str = "") -> SourceError:
        able = ", ".join(sorted(self.capabilities)) or "nothing"
        return SourceError(
            f"{self.name}: {self.endpoint.kind} cannot do {verb}; it can do: {able}", source=self.name, query=query
        )


SOURCES = Plugins("sretoolkit.metrics.sources", MetricSource)


def connect(source: str, config: Config | None = None, *, clock: Clock | None = None) -> MetricSource:
    """The source that is configured as ``[sources.NAME]``, or that a URL such as ``prometheus+http://host:9090`` names.

    Nothing is sent yet. Raises `ConfigError` (also `UnknownPlugin`) when there is no such source or kind.
    """
    by_url = "://" in source
    endpoint = Endpoint.from_url(source) if by_url else Endpoint.from_config(source, config or Config.load())
    return SOURCES[endpoint.kind](endpoint, clock=clock)
