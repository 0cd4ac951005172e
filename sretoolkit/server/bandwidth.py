"""How fast images go out, all machines together: a bucket that fills by the second, and a line in front of it."""

from __future__ import annotations

import asyncio
import time


class Bandwidth:
    """``rate`` bytes a second, no limit for 0. Who asks first is served first, so that nobody starves."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = 0.0
        self._line = asyncio.Lock()

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.rate > 0

    async def wait(self, count: int) -> None:
        """Wait until ``count`` more bytes may go."""
        if not self.limited:
            return
        async with self._line:
            now = time.monotonic()
            start = max(self._next, now)
            self._next = start + count / self.rate
            if start > now:
                await asyncio.sleep(start - now)
