"""What a step is given: the configuration, a deadline, a way to see that somebody wants it to end, open connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from typing import Any, TypeVar

from sretoolkit.clock import Clock
from sretoolkit.config import Config

T = TypeVar("T")


class Context:
    """The world of a running step; connections opened through it are shared by the plan's steps and closed at its end."""

    def __init__(self, *, config: Config | None = None, clock: Clock | None = None) -> None:
        self.config = config or Config.load()
        self.clock = clock or Clock()
        self.cancelled = threading.Event()
        self.evidence: list[dict[str, Any]] = []
        self._deadline = float("inf")
        self._open: dict[Hashable, Any] = {}
        self._stack = ExitStack()

    def use(self, key: Hashable, connect: Callable[[], T]) -> T:
        """The thing named ``key``, made by ``connect`` the first time; its ``close()`` is called when the plan ends."""
        if key not in self._open:
            thing = connect()
            if hasattr(thing, "close"):
                self._stack.callback(thing.close)
            self._open[key] = thing
        found: T = self._open[key]
        return found

    def start(self, seconds: float) -> None:
        """Begin a step that may take that long."""
        self._deadline = self.clock.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left to the running step (at least 0.1, so that it can be used as a timeout)."""
        return max(0.1, self._deadline - self.clock.monotonic())

    def close(self) -> None:
        """Close every connection; one that fails to close does not keep the others open."""
        self._open.clear()
        self._stack.close()
