"""Begins what was asked for: as many runs at once as are allowed, each on its executor, and says what came of it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.runbook.executor import Executor, executor_of
from sretoolkit.runbook.queue import Asked, Queue
from sretoolkit.store import Store

_LOG = logging.getLogger(__name__)
_AT_A_TIME = 4
_LOOK = 5.0  # seconds between looks at what was begun and has opened no run
_AWAY = 30.0  # seconds for which a place that does not answer is left alone


class Dispatcher:
    """One thread that takes from the queue; of several on one store each request is taken by one.

    A few are begun at a time: a process takes a moment to come up.
    """

    def __init__(self, store: Store, config: Config, *, interval: float = 0.2) -> None:
        self.store = store
        self.config = config
        self.queue = Queue(store)
        self._interval = interval
        self._looked = 0.0
        self._executors: dict[str, Executor] = {}
        self._away: dict[str, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._dispatch, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what was begun goes on without us."""
        self._done.set()
        self._thread.join()

    def once(self) -> int:
        """Begin what may be begun now; returns how many requests were taken."""
        taken = 0
        for row in self.store.read("SELECT DISTINCT executor FROM requests WHERE state IN ('waiting', 'taken')"):
            taken += self._begin_on(row["executor"])
        if time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            self._look_after()
        return taken

    def _dispatch(self) -> None:
        while not self._done.wait(self._interval):
            try:
                self.once()
            except SREToolkitError as error:  # the store is away for a moment: it is looked at again
                _LOG.warning("nothing can be begun now: %s", error)
            except Exception:  # whatever it is, the thread goes on
                _LOG.exception("nothing can be begun")

    def _begin_on(self, name: str) -> int:
        taken = 0
        if time.monotonic() < self._away.get(name, 0.0):
            return taken
        try:
            executor = self._executor(name)
        except SREToolkitError as error:
            for asked in self.queue.take(100, executor=name):
                self.queue.say(asked.request.id, "refused", error=str(error))
            return taken
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="begin") as pool:
            while not self._done.is_set() and time.monotonic() >= self._away.get(name, 0.0):
                found = self.queue.take(_AT_A_TIME, executor=name, most=executor.most)
                if not found:
                    break
                taken += sum(pool.map(lambda asked: self._begun(name, executor, asked), found))
        return taken

    def _begun(self, name: str, executor: Executor, asked: Asked) -> bool:
        try:
            begin(self.queue, executor, asked)
        except SREToolkitError as error:  # it is taken again in a minute; others must not wait for this place
            _LOG.warning("nothing can be begun on %s now: %s", name, error)
            self._away[name] = time.monotonic() + _AWAY
            return False
        return True

    def _look_after(self) -> None:
        """What was begun and never opened a run, and never will, is refused with what is known of it."""
        rows = self.store.read(
            "SELECT q.id, q.executor FROM requests q WHERE q.state = 'begun' AND q.changed < {now} - :look "
            "AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = q.id)",
            look=_LOOK,
        )
        for row in rows:
            try:
                why = self._executor(row["executor"]).lost(row["id"])
            except SREToolkitError as error:
                _LOG.warning("run %s cannot be looked after now: %s", row["id"], error)
                continue
            if why:
                self.queue.say(row["id"], "refused", error=why)

    def _executor(self, name: str) -> Executor:
        if name not in self._executors:
            self._executors[name] = executor_of(name, self.config)
        return self._executors[name]


def begin(queue: Queue, executor: Executor, asked: Asked) -> str:
    """Begin a request that was taken, and say what came of it; returns where it is carried out, "" when it was refused.

    Raises what can pass by itself: the place does not answer. The request is then still taken.
    """
    run = asked.request.id
    try:
        where = executor.start(asked.request)
    except SREToolkitError as error:
        if queue.opened(run):  # whoever took it before us has begun it
            queue.say(run, "begun")
        elif error.retryable:
            raise
        else:
            queue.say(run, "refused", error=str(error))
        return ""
    except Exception as error:  # whatever is wrong with one request, the others have their turn
        _LOG.exception("run %s cannot be begun", run)
        queue.say(run, "refused", error=f"{type(error).__name__}: {error}")
        return ""
    queue.say(run, "begun")
    return where
