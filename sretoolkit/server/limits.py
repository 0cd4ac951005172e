"""How often somebody may ask: a bucket for each that fills by the second, and no more buckets than memory is meant to hold."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

MOST_BUCKETS = 10_000


@dataclass(frozen=True)
class Rate:
    """So many at once, and so many a minute in the long run."""

    burst: int
    minute: int


class Limits:
    """The buckets of one server. The one that was used longest ago is forgotten first: it is full again by then, or nearly."""

    def __init__(self, most: int = MOST_BUCKETS) -> None:
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, who: str, rate: Rate, *, now: float | None = None) -> float:
        """Take one from this bucket; 0 when there was one, else the seconds until there is."""
        now = time.monotonic() if now is None else now
        with self._lock:
            left, seen = self._buckets.pop(who, (float(rate.burst), now))
            left = min(float(rate.burst), left + (now - seen) * rate.minute / 60)
            self._buckets[who] = (left - 1 if left >= 1 else left, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) * 60 / rate.minute

    def __len__(self) -> int:
        return len(self._buckets)
