"""Many small writes as one transaction: a thousand machines that check in at once cost the disk a few commits."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

from sretoolkit.errors import StoreError
from sretoolkit.store import Store
from sretoolkit.store.store import Transaction

Work = Callable[[Transaction], Any]
_MOST = 200
_END = object()


class Batch:
    """One thread that does all writing of this process. What is asked for while it commits waits and goes together.

    Each piece of work is a savepoint of its own: one that raises leaves nothing behind and disturbs nobody.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    async def do(self, work: Work) -> Any:
        """What ``work`` returns, once it is on disk; raises what it raised, or `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.put((work, loop, future))
        return await future

    def close(self) -> None:
        """Finish what was asked for, and end."""
        self._waiting.put(_END)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            items = [self._waiting.get()]
            while len(items) < _MOST and items[-1] is not _END:
                try:
                    items.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            ended = items[-1] is _END
            work = [item for item in items if item is not _END]
            if work:
                self._tell(work, self._carry_out([item[0] for item in work]))
            if ended:
                return

    def _carry_out(self, work: list[Work]) -> list[tuple[bool, Any]]:
        try:
            with self._store.transaction() as tx:
                return [self._one(tx, each) for each in work]
        except StoreError as error:
            return [(False, error)] * len(work)

    @staticmethod
    def _one(tx: Transaction, work: Work) -> tuple[bool, Any]:
        tx.execute("SAVEPOINT one")
        try:
            result = True, work(tx)
        except StoreError:
            raise
        except Exception as error:
            tx.execute("ROLLBACK TO SAVEPOINT one")
            result = False, error
        tx.execute("RELEASE SAVEPOINT one")
        return result

    @staticmethod
    def _tell(items: list[Any], results: list[tuple[bool, Any]]) -> None:
        """Wake each loop once."""
        loops: dict[asyncio.AbstractEventLoop, list[Any]] = {}
        for (_, loop, future), result in zip(items, results, strict=True):
            loops.setdefault(loop, []).append((future, result))
        for loop, pairs in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, pairs)
            except RuntimeError:  # that loop is closed: nobody waits any more
                continue


def _resolve(pairs: list[Any]) -> None:
    for future, (well, value) in pairs:
        if future.cancelled():
            continue
        if well:
            future.set_result(value)
        else:
            future.set_exception(value)
