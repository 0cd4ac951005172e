"""What a command left behind: as bytes from a connection, as text for those who asked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

OUTPUT_LIMIT = 50 * 1024 * 1024  # bytes a stream; what exceeds it is read and dropped, so the command is not held up


@dataclass(frozen=True)
class Output:
    """What a connection hands over. ``exit_code`` is None after a timeout; ``killed``: the command is known dead."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool = False
    killed: bool = False


@dataclass(frozen=True)
class Result:
    r"""A command that ended: exit code (128 + n for signal n), output as text, seconds it took, where and what it was.

    Bytes that are not UTF-8 appear as ``\xNN``; ``truncated`` is true when a stream exceeded
    `OUTPUT_LIMIT`, or had not arrived whole at the deadline although the command had ended.
    """

    exit_code: int
    stdout: str
    stderr: str
    elapsed: float
    host: str
    command: str
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


class Sink:
    """Collects one stream up to a limit, and knows when it last received something."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._fed = time.monotonic()
        self._lock = threading.Lock()
        self.truncated = False

    def feed(self, chunk: bytes) -> None:
        """Take a chunk; what exceeds the limit is dropped and noted."""
        with self._lock:
            room = self._limit - len(self._data)
            self._data += chunk[:room]
            self.truncated = self.truncated or len(chunk) > room
            self._fed = time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since the last chunk."""
        return time.monotonic() - self._fed

    def bytes(self) -> bytes:
        """What was collected."""
        with self._lock:
            return bytes(self._data)
