"""A real HAProxy before shops of two versions, in a folder of its own, with customers who count what they lose."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sretoolkit.clock import poll
from tests.stack.process import Process, free_port, program

_CONFIG = """
global
  stats socket {folder}/haproxy.sock level admin expose-fd listeners
  pidfile {folder}/haproxy.pid
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}
  default_backend shop
backend shop
  balance roundrobin
{servers}
"""


class Haproxy:
    """Three shops of version 1.0 (``old-…``) and one of 2.0 (``canary-1``), with a load of ``rate`` requests a second."""

    def __init__(self, *, rate: float = 200) -> None:
        self.rate = rate
        self.port = 0
        self.folder = Path()
        self._stack = ExitStack()
        self._running: Process | None = None

    @property
    def socket(self) -> Path:
        """Its stats socket."""
        return self.folder / "haproxy.sock"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "haproxy.cfg"

    @property
    def served(self) -> dict[str, int]:
        """What customers saw so far."""
        told = self.folder / "load.json"
        found: dict[str, int] = json.loads(told.read_text()) if told.exists() else {}
        return found

    def reload(self) -> None:
        """As systemd does it: a new process takes the listening sockets over, the old one ends when it has answered."""
        old = self._running
        assert old is not None
        command = [
            program("haproxy", "haproxy"),
            "-f",
            str(self.config),
            "-db",
            "-x",
            str(self.socket),
            "-sf",
            str(old.child.pid),
        ]
        self._running = Process(self.folder, "haproxy-again", command)
        self._stack.callback(self._running.stop)
        assert poll(lambda: old.child.poll() is not None, timeout=20)

    def say(self, command: str) -> str:
        """What its runtime API answers."""
        spoken = ["socat", "-t", "5", "-", f"UNIX-CONNECT:{self.socket}"]
        return subprocess.run(
            spoken, input=command + "\n", capture_output=True, text=True, check=True, timeout=20
        ).stdout

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="haproxy-"))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.port = free_port()
            servers = [self._shop(f"old-{number}", "1.0", weight=100) for number in (1, 2, 3)]
            servers.append(self._shop("canary-1", "2.0", weight=0))
            text = _CONFIG.format(folder=self.folder, port=self.port, servers="\n".join(servers))
            self.config.write_text(text)
            command = [program("haproxy", "haproxy"), "-f", str(self.config), "-db"]
            self._running = Process(self.folder, "haproxy", command)
            self._stack.callback(self._running.stop)
            self._running.wait_for(f"http://127.0.0.1:{self.port}/health")
            load = [sys.executable, "-m", "sretoolkit.rollout.local.load", str(self.port), str(self.rate)]
            self._stack.callback(Process(self.folder, "load", [*load, str(self.folder / "load.json")]).stop)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _shop(self, name: str, version: str, *, weight: int) -> str:
        """Start one; gives its line in the configuration."""
        port = free_port()
        shop = Process(self.folder, name, [sys.executable, "-m", "sretoolkit.rollout.local.shop", version, str(port)])
        self._stack.callback(shop.stop)
        shop.wait_for(f"http://127.0.0.1:{port}/health")
        return f"  server {name} 127.0.0.1:{port} weight {weight}  # {version}"
