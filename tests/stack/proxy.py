"""What the proxies of the tests share: a folder, shops of our own behind them, and customers in front."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.stack.process import Process, free_port


class Proxy:
    """A proxy with a load of ``rate`` requests a second on its ``port``; ``told``: the port where it tells of itself.

    ``servers``: names and ports of others instead of its own shops, which somebody else starts.
    """

    def __init__(self, *, rate: float = 200, servers: Mapping[str, int] | None = None) -> None:
        self.rate = rate
        self.servers = servers
        self.port = self.told = 0
        self.folder = Path()
        self._stack = ExitStack()
        self._running: Process | None = None

    @property
    def served(self) -> dict[str, int]:
        """What customers saw so far."""
        told = self.folder / "load.json"
        found: dict[str, int] = json.loads(told.read_text()) if told.exists() else {}
        return found

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _settle(self) -> None:
        """Take a folder and ports of its own."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.port, self.told = free_port(), free_port()

    def _run(self, command: list[str], ready: str) -> None:
        """Start the proxy, wait until it answers there, and let the customers in."""
        self._running = Process(self.folder, type(self).__name__.lower(), command)
        self._stack.callback(self._running.stop)
        self._running.wait_for(ready)
        load = [sys.executable, "-m", "sretoolkit.rollout.local.load", str(self.port), str(self.rate)]
        self._stack.callback(Process(self.folder, "load", [*load, str(self.folder / "load.json")]).stop)

    def _shop(self, name: str, version: str) -> int:
        """Start one; gives its port."""
        port = free_port()
        shop = Process(self.folder, name, [sys.executable, "-m", "sretoolkit.rollout.local.shop", version, str(port)])
        self._stack.callback(shop.stop)
        shop.wait_for(f"http://127.0.0.1:{port}/health")
        return port
