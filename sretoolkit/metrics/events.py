"""What happened: deploys, downtimes, state changes, silences; read from every system, written to those that keep them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sretoolkit.chart import Annotation


class Window(NamedTuple):
    """A stretch of time, both ends in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened at ``start``, or from ``start`` to ``end``.

    ``id`` is the system's own (a marker that was written is taken back by it), ``source`` the system's name as the user
    calls it. Times are UTC.
    """

    start: datetime
    end: datetime | None = None
    title: str
    text: str = ""
    tags: Sequence[str] = ()
    source: str = ""
    id: str = ""

    def within(self, window: Window) -> bool:
        """Whether it happened, at least in part, in the window."""
        return self.start <= window.end and (self.end or self.start) >= window.start

    def annotation(self) -> Annotation:
        """The mark in a chart."""
        return Annotation(self.start, self.title)


class Kept(list[Event]):
    """Events of a system that keeps only some: ``lost`` says what of the window it no longer has ("" = nothing)."""

    def __init__(self, events: Iterable[Event] = (), *, lost: str = "") -> None:
        super().__init__(events)
        self.lost = lost
