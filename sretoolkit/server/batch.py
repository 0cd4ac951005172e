"""Many small writes as one transaction: a thousand machines that check in at once cost the disk a few commits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sretoolkit.store import Store
from sretoolkit.store.store import Begun, Transaction

Work = Callable[[Transaction], Any]
Item = tuple[Work, asyncio.Future[Any]]
Results = list[tuple[bool, Any]]
_MOST = 100


class Batch:
    """All store work of one event loop. What is asked for while the last one becomes durable is one transaction.

    The work is done in the loop's own thread: each piece takes a tenth of a millisecond, and a second thread would fight for
    the interpreter for longer than that. The commit waits for the disk in another thread, while the loop reads what comes
    next. With a store on another machine, whose answers must be waited for, the work is done there too.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Item] = []
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
            self._beside(loop, items, lambda: _durable(*self._work(work)))
            return
        begun, results = self._work(work)
        if begun is not None and begun.wrote:
            self._beside(loop, items, lambda: _durable(begun, results))
        else:
            self._end(loop, items, _durable(begun, results))

    def _beside(self, loop: asyncio.AbstractEventLoop, items: list[Item], finish: Callable[[], Results]) -> None:
        done = loop.run_in_executor(None, finish)
        done.add_done_callback(lambda finished: self._end(loop, items, finished.result()))

    def _end(self, loop: asyncio.AbstractEventLoop, items: list[Item], results: Results) -> None:
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

    def _work(self, work: list[Work]) -> tuple[Begun | None, Results]:
        """All in one transaction, to be made durable; when one raises, each in one of its own, so that it disturbs nobody."""
        try:
            if not self._ready:
                self._store.expect_bursts()
                self._ready = True
            begun = self._store.begin()
        except Exception as error:
            return None, [(False, error)] * len(work)
        try:
            return begun, [(True, each(begun)) for each in work]
        except Exception as error:
            begun.roll_back()
            return None, [self._alone(each) for each in work] if len(work) > 1 else [(False, error)]

    def _alone(self, work: Work) -> tuple[bool, Any]:
        try:
            with self._store.transaction() as tx:
                return True, work(tx)
        except Exception as error:
            return False, error


def _durable(begun: Begun | None, results: Results) -> Results:
    try:
        if begun is not None:
            begun.commit()
    except Exception as error:
        return [(False, error)] * len(results)
    return results
