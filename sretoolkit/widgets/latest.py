"""Work in a thread, of which only the newest order of each asker counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Order = TypeVar("Order")


class Latest(Generic[Order]):
    """Calls ``work(order)`` one after another in a thread that lives while there is something to do.

    An order that an asker replaced before it was begun is never begun. ``work`` must not raise.
    """

    def __init__(self, work: Callable[[Order], None], *, name: str) -> None:
        self._work = work
        self._name = name
        self._orders: dict[Hashable, Order] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ask(self, who: Hashable, order: Order) -> None:
        """Have it done soon; returns at once."""
        with self._lock:
            self._orders[who] = order
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        """Wait until there is nothing to do."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._orders:
                    self._thread = None
                    return
                order = self._orders.pop(next(iter(self._orders)))
            self._work(order)
