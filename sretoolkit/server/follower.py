"""Follows what happens to machines: records it, tells hooks, writes loaders' files. Nothing here holds up an answer."""

from __future__ import annotations

import json
import logging
import queue
import threading
from pathlib import Path
from typing import Any

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.provision import boots, hooks, orders
from sretoolkit.provision.entries import EVENTS, Hook
from sretoolkit.provision.registry import Registry, node_in
from sretoolkit.provision.tftp import TftpFolder
from sretoolkit.server.recorder import Recorder
from sretoolkit.store.store import Row

_LOG = logging.getLogger(__name__)
_INTERVAL = 0.25
_CURSOR = "provision-hooks"


class Follower:
    """One thread that reads the log, and one for each hook: a hook that hangs delays itself alone.

    Every server writes its own files for the loaders; of several on one store, one tells the hooks and keeps the record. Where it
    has come to is in the store, so that what happened while no server ran is told and recorded too.
    """

    def __init__(self, registry: Registry, config: Config) -> None:
        self.registry = registry
        self.config = config
        self.folder = Path(config["provision.folder"]) / "tftp"
        self._recorder = Recorder(registry.store, config)
        self._done = threading.Event()
        self._queues: dict[str, queue.Queue[tuple[str, str] | None]] = {}
        self._tellers: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._follow, name="provision-follower", daemon=True)

    def start(self) -> None:
        """Begin with what has happened since the last time."""
        self._thread.start()

    def close(self) -> None:
        """End; a hook that is at work is killed."""
        self._done.set()
        self._thread.join()
        for waiting in self._queues.values():
            waiting.put(None)
        for thread in self._tellers:
            thread.join()

    def _follow(self) -> None:
        seen = -1
        while not self._done.wait(_INTERVAL if seen >= 0 else 0.0):
            try:
                seen = self._all_loaders() if seen < 0 else self._loaders(seen)
                if self._recorder.leads():
                    self._tell_of_news()
            except SREToolkitError as error:  # the store is away for a moment: it is looked at again
                _LOG.warning("provisioning cannot be followed now: %s", error)
                self._done.wait(1.0)
        try:
            self._recorder.close()
        except SREToolkitError as error:
            _LOG.warning("the record could not be closed: %s", error)

    def _tell_of_news(self) -> None:
        """What happened since the last time: onto the record, then to the hooks."""
        cursor = self._cursor()
        rows = self._rows("id, node, at, event, entry", cursor)
        self._recorder.write([{**row, "entry": json.loads(row["entry"])} for row in rows])
        if not rows:
            return
        told = {name: hook for name, hook in self.registry.documents("hook").items() if isinstance(hook, Hook)}
        for row in rows:
            for name, hook in told.items():
                if row["event"] in EVENTS and (not hook.events or row["event"] in hook.events):
                    self._queue(name).put((row["event"], row["node"]))
        self.registry.store.write(
            "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = :value",
            key=_CURSOR, value=str(rows[-1]["id"]),
        )  # fmt: skip

    def _rows(self, columns: str, after: int) -> list[Row]:
        sql = f"SELECT {columns} FROM provision_log WHERE id > :after ORDER BY id LIMIT 500"
        return self.registry.store.read(sql, after=after)

    def _cursor(self) -> int:
        rows = self.registry.store.read("SELECT value FROM meta WHERE key = :key", key=_CURSOR)
        return int(rows[0]["value"]) if rows else 0

    def _queue(self, name: str) -> queue.Queue[Any]:
        if name not in self._queues:
            self._queues[name] = queue.Queue()
            self._tellers.append(threading.Thread(target=self._tell, args=(name,), name=f"hook-{name}", daemon=True))
            self._tellers[-1].start()
        return self._queues[name]

    def _tell(self, name: str) -> None:
        while (item := self._queues[name].get()) is not None and not self._done.is_set():
            event, node = item
            try:
                hook = self.registry.documents("hook").get(name)
                if isinstance(hook, Hook):
                    hooks.tell(self.registry, hook, event, node, self._done)
            except SREToolkitError as error:
                _LOG.warning("the hook %s could not be told of %s: %s", name, event, error)

    def _all_loaders(self) -> int:
        """Write the files of all machines; gives the newest event that they follow from."""
        rows = self.registry.store.read("SELECT max(id) AS id FROM provision_log")
        for node in self.registry.nodes():
            self._loader(node.id)
        return int(rows[0]["id"] or 0)

    def _loaders(self, seen: int) -> int:
        rows = self._rows("id, node", seen)
        for node in dict.fromkeys(row["node"] for row in rows if row["node"]):
            self._loader(node)
        return int(rows[-1]["id"]) if rows else seen

    def _loader(self, node_id: str) -> None:
        """GRUB and PXELINUX ask by TFTP alone, so that what they are told are files for each of the machine's cards."""
        if not self.folder.is_dir() or not self.config["provision.url"]:
            return
        with self.registry.store.transaction() as tx:
            if not tx.execute("SELECT 1 FROM provision_nodes WHERE id = :node", node=node_id):
                return
            node = node_in(tx, node_id)
            order = orders.order_in(tx, node.order) if node.order else None
        api, consoles = str(self.config["provision.url"]), self.config["provision.consoles"]
        texts = {
            "grub": boots.grub_text(node, order, api, consoles),
            "pxelinux": boots.pxelinux_text(node, order, api, consoles),
        }
        for mac in node.hardware.macs:
            if len(mac) == 17:
                TftpFolder(self.folder).write_node(mac, **texts)
