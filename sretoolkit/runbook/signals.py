"""Signals to a run, from before it is opened until after it is closed: noted, never died of."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Notes SIGINT, SIGTERM and SIGHUP between `listen` and `close` (in the main thread, where alone that is possible)."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.on_signal: Callable[[], object] = lambda: None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.received)

    def listen(self) -> None:
        """From now on nothing but a KILL ends this process before the run has its record."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self.note) for number in NUMBERS}

    def close(self) -> None:
        """Give the process its own handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """As if that signal had come."""
        self.received.append(number)
        self.on_signal()
