"""What is written to monitoring systems, as plans: deploy markers, acknowledgements, silences; each can be taken back.

A marker or silence carries a word of its own (``sre-…``), by which it is found again by whoever has to undo it, in
whichever process: the system's own id of it is not known before it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sretoolkit.clock import format_duration
from sretoolkit.config import Config
from sretoolkit.errors import PlanError, SourceError
from sretoolkit.journal import digest
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.source import MetricSource, connect
from sretoolkit.metrics.states import CheckState
from sretoolkit.plan import Context, Plan, Step, shown

_NEAR = timedelta(minutes=1)  # systems keep times to a second or a minute


def annotate(sources: Sequence[str] | str, event: Event, *, config: Config | None = None) -> Plan:
    """A plan that writes ``event`` as a marker into each source; raises `PlanError` for one that keeps no markers."""
    names = [sources] if isinstance(sources, str) else list(sources)
    for name in names:
        with connect(name, config) as source:
            if "annotate" not in source.capabilities or "events" not in source.capabilities:
                hint = "mark it in another source; `sretoolkit sources` shows which ones can annotate"
                raise PlanError(f"{name} ({source.endpoint.kind}) keeps no markers", hint=hint)
    return Plan(f"Mark: {event.title}", [WriteMarker.of(name, event) for name in names])


def acknowledge(source: str, entity: str, check: str, comment: str, *, config: Config | None = None) -> Plan:
    """A plan that says somebody is on a check; without steps when somebody is already. Raises `PlanError`."""
    state = _present(source, entity, check, "acknowledge", config)
    steps = [] if state.acknowledged else [Acknowledge(source=source, entity=entity, check=check, comment=comment)]
    return Plan(f"Acknowledge {entity}/{check} on {source}", steps)


def silence(
    source: str,
    entity: str,
    check: str,
    *,
    start: datetime,
    duration: timedelta,
    comment: str,
    config: Config | None = None,
) -> Plan:
    """A plan that keeps a check from notifying for a while. Raises `PlanError` when there is no such check."""
    _present(source, entity, check, "silence", config)
    step = Silence(source=source, entity=entity, check=check, start=start, duration=duration, comment=comment)
    return Plan(f"Silence {entity}/{check} on {source} for {format_duration(duration)}", [step])


@dataclass(frozen=True, kw_only=True)
class _Presence(Step):
    """Something that is not there before and is there after."""

    before: bool = False
    after: bool = True
    source: str

    def opened(self, ctx: Context) -> MetricSource:
        """The source, one connection a plan."""
        return ctx.use(("source", self.source), lambda: connect(self.source, ctx.config, clock=ctx.clock))


@dataclass(frozen=True, kw_only=True)
class WriteMarker(_Presence):
    """Write an event into a source."""

    title: str
    text: str
    tags: tuple[str, ...]
    start: datetime = shown()  # noqa: RUF009  when it was planned: an approval covers what is marked, not the second
    end: datetime | None = None

    @classmethod
    def of(cls, source: str, event: Event) -> WriteMarker:
        """The step for an event."""
        return cls(
            source=source, title=event.title, text=event.text, tags=tuple(event.tags), start=event.start, end=event.end
        )

    @property
    def word(self) -> str:
        """By which the marker is found again: the same for the same marker."""
        return _word([self.source, self.title, self.text, list(self.tags), self.start.isoformat()])

    @property
    def target(self) -> str:
        """``marker:SOURCE/WORD``."""
        return f"marker:{self.source}/{self.word}"

    def describe(self) -> str:
        """The marker in one line."""
        tags = f" [{', '.join(self.tags)}]" if self.tags else ""
        return f"in {self.source} mark {self.start:%Y-%m-%d %H:%M:%S} UTC: {self.title}{tags}"

    def observe(self, ctx: Context) -> bool:
        """Whether the marker is there."""
        return bool(self._found(ctx))

    def do(self, ctx: Context) -> None:
        """Write it."""
        text = f"{self.text} ({self.word})".strip()
        tags = (*self.tags, self.word)
        self.opened(ctx).annotate(Event(start=self.start, end=self.end, title=self.title, text=text, tags=tags))
        _appear(ctx, lambda: self.observe(ctx))

    def undo(self, ctx: Context) -> None:
        """Delete it."""
        for event in self._found(ctx):
            self.opened(ctx).retract(event.id)

    def by_hand(self) -> str:
        """Where to look."""
        return f"in {self.source} delete the marker tagged {self.word} at {self.start.isoformat()}"

    def _found(self, ctx: Context) -> list[Event]:
        window = Window(self.start - _NEAR, (self.end or self.start) + _NEAR)
        return [event for event in self.opened(ctx).events(window) if _bears(event, self.word)]


@dataclass(frozen=True, kw_only=True)
class Acknowledge(_Presence):
    """Acknowledge a check."""

    entity: str
    check: str
    comment: str

    @property
    def target(self) -> str:
        """``check:SOURCE/ENTITY/CHECK``."""
        return f"check:{self.source}/{self.entity}/{self.check}"

    def describe(self) -> str:
        """The acknowledgement in one line."""
        return f"on {self.source} acknowledge {self.entity}/{self.check}: {self.comment}"

    def observe(self, ctx: Context) -> bool:
        """Whether it is acknowledged."""
        return _check(self.opened(ctx), self.entity, self.check).acknowledged

    def do(self, ctx: Context) -> None:
        """Acknowledge it."""
        source = self.opened(ctx)
        source.acknowledge(_check(source, self.entity, self.check), self.comment)
        _appear(ctx, lambda: self.observe(ctx))

    def undo(self, ctx: Context) -> None:
        """Take the acknowledgement back."""
        source = self.opened(ctx)
        source.unacknowledge(_check(source, self.entity, self.check))
        _appear(ctx, lambda: not self.observe(ctx))

    def by_hand(self) -> str:
        """What to do in the system's own interface."""
        return f"on {self.source} remove the acknowledgement of {self.entity}/{self.check}"


@dataclass(frozen=True, kw_only=True)
class Silence(_Presence):
    """Keep a check from notifying for a while."""

    entity: str
    check: str
    start: datetime
    duration: timedelta
    comment: str

    @property
    def word(self) -> str:
        """By which the silence is found again."""
        return _word([self.source, self.entity, self.check, self.start.isoformat(), format_duration(self.duration)])

    @property
    def target(self) -> str:
        """``silence:SOURCE/ENTITY/CHECK``."""
        return f"silence:{self.source}/{self.entity}/{self.check}"

    def describe(self) -> str:
        """The silence in one line."""
        return (
            f"on {self.source} silence {self.entity}/{self.check} for {format_duration(self.duration)} "
            f"from {self.start:%Y-%m-%d %H:%M:%S} UTC: {self.comment}"
        )

    def observe(self, ctx: Context) -> bool:
        """Whether the silence is there."""
        return bool(self._found(ctx))

    def do(self, ctx: Context) -> None:
        """Make it."""
        source = self.opened(ctx)
        check = _check(source, self.entity, self.check)
        source.silence(check, Window(self.start, self.start + self.duration), f"{self.comment} ({self.word})")
        _appear(ctx, lambda: self.observe(ctx))

    def undo(self, ctx: Context) -> None:
        """End it."""
        for event in self._found(ctx):
            self.opened(ctx).unsilence(event.id)
        _appear(ctx, lambda: not self.observe(ctx))

    def by_hand(self) -> str:
        """What to do in the system's own interface."""
        return f"on {self.source} end the silence or downtime of {self.entity}/{self.check} that says {self.word}"

    def _found(self, ctx: Context) -> list[Event]:
        window = Window(self.start - _NEAR, self.start + self.duration + _NEAR)
        now = ctx.clock.now()
        events = [event for event in self.opened(ctx).events(window) if _bears(event, self.word)]
        return [event for event in events if event.end is None or event.end > min(now, self.start + self.duration)]


def _word(parts: list[Any]) -> str:
    return f"sre-{digest({'mark': parts})[:10]}"


def _bears(event: Event, word: str) -> bool:
    return word in event.tags or word in event.text or word in event.title


def _appear(ctx: Context, seen: Any) -> None:
    """Wait until the system shows what it was told; some take a second. The step's own verification judges in the end."""
    while not seen() and ctx.remaining() > 1:
        ctx.clock.sleep(0.2)


def _check(source: MetricSource, entity: str, check: str) -> CheckState:
    found = [state for state in source.checks() if (state.entity, state.check) == (entity, check)]
    if not found:
        hint = f"`sretoolkit alerts --source {source.name} --all` lists those there are"
        raise SourceError(f"{source.name} has no check {check!r} of {entity!r}", source=source.name, hint=hint)
    return found[0]


def _present(source: str, entity: str, check: str, verb: str, config: Config | None) -> CheckState:
    with connect(source, config) as one:
        if verb not in one.capabilities or "checks" not in one.capabilities:
            hint = "do it in the system that sends the notifications"
            raise PlanError(f"{source} ({one.endpoint.kind}) cannot {verb}", hint=hint)
        try:
            return replace(_check(one, entity, check), source=source)
        except SourceError as error:
            raise PlanError(error.message, hint=error.hint) from error
