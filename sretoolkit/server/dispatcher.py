"""Begins the runs that were asked for: as many at once as is allowed, each by one server, each a process of its own."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.runbook.executor import EXECUTORS
from sretoolkit.runbook.queue import Asked, Queue
from sretoolkit.secrets import redaction

_LOG = logging.getLogger(__name__)
_INTERVAL = 0.2
_EXECUTOR = "local"


class Dispatcher:
    """One thread that looks, and a few that begin: a process takes a second to come up. What was begun outlives the server."""

    def __init__(self, queue: Queue, config: Config) -> None:
        self._queue = queue
        self._config = config
        self._most = int(config["serve.most_runs"])
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(max(1, self._most), thread_name_prefix="begin")
        self._thread = threading.Thread(target=self._follow, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin with what waits already."""
        self._thread.start()

    def close(self) -> None:
        """Take nothing more; what was taken is begun."""
        self._done.set()
        self._thread.join()
        self._pool.shutdown()

    def _follow(self) -> None:
        while not self._done.wait(_INTERVAL):
            try:
                free = self._most - self._queue.active(_EXECUTOR)
                for asked in self._queue.take(free) if free > 0 and self._queue.waits() else []:
                    self._pool.submit(self._begin, asked)
            except SREToolkitError as error:  # the store is away for a moment: it is looked at again
                _LOG.warning("no run can be begun now: %s", error)
                self._done.wait(1.0)

    def _begin(self, asked: Asked) -> None:
        run = asked.request.id
        try:
            EXECUTORS[asked.executor](self._config).start(asked.request)
        except SREToolkitError as error:
            self._say(run, error=str(error))
        except Exception as error:  # one that cannot be begun must not be taken again and again
            _LOG.exception("run %s could not be begun", run)
            self._say(run, error=f"{type(error).__name__}: {error}")
        else:
            self._say(run)

    def _say(self, run: str, *, error: str = "") -> None:
        try:
            self._queue.say(run, "refused" if error else "begun", error=error)
        except SREToolkitError as failure:
            _LOG.warning("what came of run %s could not be written down: %s", run, redaction(str(failure)))
