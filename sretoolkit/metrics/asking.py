"""Many systems asked at once: the slowest one's time, not the sum; one that hangs or fails is named and holds nobody up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from sretoolkit.clock import Clock, format_duration
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NoData, NotExpressible, SourceUnavailable, SREToolkitError
from sretoolkit.metrics.source import MetricSource, connect
from sretoolkit.report import Finding

T = TypeVar("T")
PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True)
class Answers(Generic[T]):
    """What each source said, or the error it gave instead, and how long it took (seconds)."""

    found: Mapping[str, T] = field(default_factory=dict)
    errors: Mapping[str, SREToolkitError] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def findings(self, what: str) -> list[Finding]:
        """A finding for each source whose answer is missing: what it does not have is no fault, all else is."""
        return [_finding(name, error, what) for name, error in sorted(self.errors.items())]


def everywhere(
    call: Callable[[MetricSource], T],
    sources: Sequence[str] = (),
    *,
    patience: timedelta = PATIENCE,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Answers[T]:
    """``call`` with each source (all configured ones), in a thread each, for at most ``patience``.

    An error of one is kept in its place; only a source that is not configured at all raises `ConfigError`, before
    anything is asked.
    """
    config = config or Config.load()
    names = list(dict.fromkeys(sources or config.names("sources")))
    if not names:
        raise ConfigError("no source is configured", hint="add [sources.NAME] with kind and url to sretoolkit.toml")
    opened = {name: connect(name, config, clock=clock) for name in names}
    found: dict[str, T] = {}
    errors: dict[str, SREToolkitError] = {}
    seconds: dict[str, float] = {}
    began, done = time.monotonic(), threading.Condition()

    def ask(name: str) -> None:
        answer: T | None = None
        error: SREToolkitError | None = None
        try:
            with opened[name] as source:
                answer = call(source)
        except SREToolkitError as own:
            error = own
        except Exception as other:  # a defect in one plug-in must not take the others' answers with it
            error = _defect(name, other)
        with done:
            seconds[name] = time.monotonic() - began
            if error is not None:
                errors[name] = error
            else:
                found[name] = answer  # type: ignore[assignment]
            done.notify_all()

    for name in names:
        threading.Thread(target=ask, args=(name,), name=f"ask-{name}", daemon=True).start()
    with done:
        done.wait_for(lambda: len(seconds) == len(names), timeout=patience.total_seconds())
        missing = {name: _silent(name, patience) for name in names if name not in seconds}
        return Answers(dict(found), {**errors, **missing}, dict(seconds))


def _silent(name: str, patience: timedelta) -> SourceUnavailable:
    text = f"{name} did not answer within {format_duration(patience)}; the others did not wait for it"
    return SourceUnavailable(text, source=name, hint="try again; when it persists, look at that system's own health")


def _defect(name: str, error: Exception) -> SREToolkitError:
    text = f"{name}: {type(error).__name__}: {error}"
    return SREToolkitError(text, hint="this is a defect of sretoolkit or of a plug-in: --debug shows where")


def _finding(name: str, error: SREToolkitError, what: str) -> Finding:
    if isinstance(error, NotExpressible):
        return Finding(
            severity="info", subject=name, summary=f"has no {what} to tell: {error.reason}", remedy=error.nearest
        )
    severity = "medium" if isinstance(error, NoData) else "high"
    summary = error.message if name in error.message else f"{name}: {error.message}"
    return Finding(
        severity=severity,  # type: ignore[arg-type]
        subject=name,
        summary=f"{what} unknown: {summary}",
        proof="certain",
        remedy=error.hint,
    )
