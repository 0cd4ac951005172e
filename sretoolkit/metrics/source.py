"""What every monitoring system looks like from here, and how to get one by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from sretoolkit.clock import Clock
from sretoolkit.config import Config
from sretoolkit.errors import NotExpressible, TooCostly
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.plugins import Plugins

if TYPE_CHECKING:
    from sretoolkit.metrics.compiled import Compiled
    from sretoolkit.metrics.entity import Entity
    from sretoolkit.metrics.events import Event, Window
    from sretoolkit.metrics.grid import Grid
    from sretoolkit.metrics.matcher import Selector
    from sretoolkit.metrics.series import SeriesFrame
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.metrics.states import CheckState
    from sretoolkit.report import Report

READS = ("checks", "discover", "events", "health", "instant", "range", "sli")
WRITES = ("acknowledge", "annotate", "silence")


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What one kind of system can answer. The verbs are what its plug-in overrides; the rest it declares.

    ``history``: it keeps past values. ``quantile``: of raw values (exact), of buckets, only those computed beforehand,
    or none. ``group_by`` and ``regex_filter``: on the server. ``server_window``: sums over a window on the server.
    """

    verbs: frozenset[str] = frozenset()
    history: bool = False
    quantile: Literal["exact", "bucketed", "premade", "none"] = "none"
    group_by: bool = False
    regex_filter: bool = False
    server_window: bool = False

    def __contains__(self, verb: object) -> bool:
        return verb in self.verbs


class MetricSource:
    """One monitoring system. A plug-in overrides what its system can do; the rest refuses by name.

    ``own_options`` are the options in ``[sources.NAME]`` that only this kind knows; they come in ``endpoint.options``.
    ``schemes`` are those of its URLs, ``declared`` what `capabilities` adds to the verbs. Every method that asks raises
    `SourceUnavailable` (try again), `QueryError` (the question is wrong), `NoData`, `TooCostly` or `NotExpressible`.
    What writes (`annotate`, `acknowledge`, `silence` and what takes them back) is called by the steps of
    `sretoolkit.metrics.marks` alone.
    """

    own_options: ClassVar[frozenset[str]] = frozenset()
    schemes: ClassVar[tuple[str, ...]] = ("https", "http")
    declared: ClassVar[Capabilities] = Capabilities()

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        endpoint.check(self.schemes, self.own_options)
        self.endpoint = endpoint
        self.clock = clock or Clock()

    @property
    def name(self) -> str:
        """As the user calls it."""
        return self.endpoint.name

    @property
    def capabilities(self) -> Capabilities:
        """What this system can do and answer."""
        verbs = {verb for verb in (*READS, *WRITES) if getattr(type(self), verb) is not getattr(MetricSource, verb)}
        declared = self.declared
        return Capabilities(
            verbs=frozenset(verbs),
            history=declared.history,
            quantile=declared.quantile,
            group_by=declared.group_by,
            regex_filter=declared.regex_filter,
            server_window=declared.server_window,
        )

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """The series that ``query`` (in the system's own language) selects, over a window that ends at ``end`` (now)."""
        raise self.cannot("range", query)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """The same at one moment (now): a frame with one row."""
        raise self.cannot("instant", query)

    def native(self, selector: Selector) -> str:
        """The series of a selector as the query, in the system's own language, that `range` and `instant` take."""
        return str(selector)

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """An indicator in this system's own terms, not asked yet: its value over ``sli.window`` up to each moment.

        ``exact`` computes from raw samples where the system's own functions estimate. Raises `NotExpressible`.
        """
        raise self.cannot("sli", sli.name)

    def checks(self) -> Sequence[CheckState]:
        """The state of every check and alert that the system has now; an empty answer means that it has none."""
        raise self.cannot("checks")

    def events(self, window: Window) -> Sequence[Event]:
        """What happened in the window, oldest first; an empty answer means that nothing did."""
        raise self.cannot("events")

    def discover(self) -> Sequence[Entity]:
        """The machines, devices and jobs that the system knows."""
        raise self.cannot("discover")

    def health(self) -> Report:
        """What is wrong with the system itself; a system that is down is a finding here, not an error."""
        raise self.cannot("health")

    def version(self) -> str:
        """Of the system, as it says itself; "unknown" when it does not."""
        return "unknown"

    def annotate(self, event: Event) -> str:
        """Write a marker; returns the system's id for it."""
        raise self.cannot("annotate")

    def retract(self, identifier: str) -> None:
        """Take a marker back that `annotate` wrote; fine when it is gone already."""
        raise self.cannot("retract")

    def acknowledge(self, check: CheckState, comment: str) -> None:
        """Say that somebody is on it."""
        raise self.cannot("acknowledge")

    def unacknowledge(self, check: CheckState) -> None:
        """Take that back."""
        raise self.cannot("unacknowledge")

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """No notifications of this check during the window; returns the system's id for the silence or downtime."""
        raise self.cannot("silence")

    def unsilence(self, identifier: str) -> None:
        """End a silence that `silence` began; fine when it is over already."""
        raise self.cannot("unsilence")

    def close(self) -> None:
        """Give connections back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cannot(self, what: str, query: str = "", *, reason: str = "", nearest: str = "") -> NotExpressible:
        """The error that says that this kind of system cannot do or answer this, why, and what comes nearest."""
        able = ", ".join(sorted(self.capabilities.verbs)) or "nothing"
        return NotExpressible(
            f"{self.name}: {self.endpoint.kind} cannot do {what}",
            source=self.name,
            query=query,
            reason=reason or "the system has no such thing",
            nearest=nearest or f"it can do: {able}",
        )

    def afford(
        self, samples: int, query: str, *, instead: str = "aggregate (sum by one label), or ask for a longer step"
    ) -> None:
        """Raise `TooCostly` when an answer of so many samples is beyond this source's ``most_samples``."""
        most = self.endpoint.most_samples
        if samples > most:
            what = f"{self.name}: the answer would have {samples:,} samples, more than {most:,}: {query}"
            raise TooCostly(what, source=self.name, query=query, hint=f"{instead}; or raise most_samples of the source")


SOURCES = Plugins("sretoolkit.metrics.sources", MetricSource)


def connect(source: str, config: Config | None = None, *, clock: Clock | None = None) -> MetricSource:
    """The source that is configured as ``[sources.NAME]``, or that a URL such as ``prometheus+http://host:9090`` names.

    Nothing is sent yet. Raises `ConfigError` (also `UnknownPlugin`) when there is no such source or kind.
    """
    by_url = "://" in source
    endpoint = Endpoint.from_url(source) if by_url else Endpoint.from_config(source, config or Config.load())
    return SOURCES[endpoint.kind](endpoint, clock=clock)


@contextmanager
def opened(source: str | MetricSource, config: Config | None = None) -> Iterator[MetricSource]:
    """A source by name for the time of a block, or one that is open already and stays so."""
    if isinstance(source, MetricSource):
        yield source
    else:
        with connect(source, config) as one:
            yield one
