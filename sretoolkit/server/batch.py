"""Many small writes as one transaction: a thousand machines that check in at once cost the disk a few commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sretoolkit.store import Store
from sretoolkit.store.store import Transaction

Work = Callable[[Transaction], Any]
_MOST = 100


class Batch:
    """All store work of one event loop. What is asked for in one turn of the loop goes into one transaction.

    It is done in the loop's own thread: each piece takes a tenth of a millisecond, and a second thread would fight for
    the interpreter for longer than that. With a store on another machine, whose answers must be waited for, the same is
    done in one thread beside it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._busy = self._ready = False

    async def do(self, work: Work) -> Any:
        """What ``work`` returns, once it is on disk; raises what it raised, or `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((work, future))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._begin, loop)
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        items, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        work = [each for each, _ in items]
        if self._store.shared:
            done = loop.run_in_executor(None, self._carry_out, work)
            done.add_done_callback(lambda finished: self._end(loop, items, finished.result()))
        else:
            self._end(loop, items, self._carry_out(work))

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        items: list[tuple[Work, asyncio.Future[Any]]],
        results: list[tuple[bool, Any]],
    ) -> None:
        for (_, future), (well, value) in zip(items, results, strict=True):
            if future.cancelled():
                continue
            if well:
                future.set_result(value)
            else:
                future.set_exception(value)
        self._busy = bool(self._waiting)
        if self._busy:
            loop.call_soon(self._begin, loop)

    def _carry_out(self, work: list[Work]) -> list[tuple[bool, Any]]:
        """All in one transaction; when one of them raises, each in one of its own, so that it disturbs nobody."""
        try:
            if not self._ready:
                self._store.expect_bursts()
                self._ready = True
            with self._store.transaction() as tx:
                return [(True, each(tx)) for each in work]
        except Exception as error:
            return [self._alone(each) for each in work] if len(work) > 1 else [(False, error)]

    def _alone(self, work: Work) -> tuple[bool, Any]:
        try:
            with self._store.transaction() as tx:
                return True, work(tx)
        except Exception as error:
            return False, error
