"""Several lists of a cluster watched at once: what happens in any of them is told in one place, as it happens."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sretoolkit.errors import SREToolkitError
from sretoolkit.hosts.cluster import Cluster

_SECONDS = 20.0  # a quiet watch is begun anew, so that a connection that died unnoticed is


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One list from a resource version on: of one object by its ``name``, or of those that a selector names."""

    path: str
    version: str
    name: str = ""
    labels: str = ""


class Watches:
    """Watches them while it is open, each for some seconds; then it has `ended`, and the lists are to be read anew.

    A thread reads each; it ends by itself, with the watch, soon after this is closed.
    """

    def __init__(self, cluster: Cluster, lists: Sequence[Watched]) -> None:
        self.ended = False
        self._cluster = cluster
        self._lists = lists
        self._told: queue.SimpleQueue[tuple[int, dict[str, Any] | SREToolkitError | None]] = queue.SimpleQueue()
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        for number, watched in enumerate(self._lists):
            threading.Thread(target=self._follow, args=(number, watched), name="watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def next(self, seconds: float) -> tuple[int, dict[str, Any]] | None:
        """The next event with its list's place; None when there is none for so long, or one of the watches has ended.

        Raises what a watch ended with: `ClusterError` when it is refused.
        """
        try:
            place, told = self._told.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(told, SREToolkitError):
            raise told
        if told is None:
            self.ended = True
            return None
        return place, told

    def _follow(self, place: int, watched: Watched) -> None:
        about = {"version": watched.version, "name": watched.name, "labels": watched.labels}
        try:
            for event in self._cluster.watch(watched.path, timeout=_SECONDS, **about):
                if self._closed.is_set():
                    return
                if event["type"] == "ERROR":  # the version is too old by now
                    break
                self._told.put((place, event))
        except SREToolkitError as error:
            self._told.put((place, error))
        else:
            self._told.put((place, None))
