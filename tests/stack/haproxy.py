"""A real HAProxy before shops of two versions, in a folder of its own, with customers who count what they lose."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sretoolkit.clock import poll
from tests.stack.process import Process, free_port, program

_PASSING = 0.05  # seconds
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
frontend told
  bind 127.0.0.1:{told}
  http-request use-service prometheus-exporter if {{ path /metrics }}
backend shop
  balance roundrobin
{servers}
"""


class Haproxy:
    """Three shops of version 1.0 (``old-…``) and one of 2.0 (``canary-1``), with a load of ``rate`` requests a second.

    ``servers``: names and ports of others instead, which somebody else starts. Those that begin with ``canary`` have the
    weight 0 at first. Its metrics, as Prometheus reads them, are at ``told``.
    """

    def __init__(self, *, rate: float = 200, servers: Mapping[str, int] | None = None) -> None:
        self.rate = rate
        self.servers = servers
        self.port = self.told = 0
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

    def stop(self) -> None:
        """End it, as a fault."""
        assert self._running is not None
        self._running.stop()

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
            self.told = free_port()
            servers = [
                f"  server {name} 127.0.0.1:{port} weight {0 if name.startswith('canary') else 100}  # {name}"
                for name, port in (self._shops() if self.servers is None else self.servers).items()
            ]
            text = _CONFIG.format(folder=self.folder, port=self.port, told=self.told, servers="\n".join(servers))
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

    def weights(self) -> dict[str, int]:
        """Of each server, in effect; asked of HAProxy itself, without the code that is tested."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            connection.sendall(b"show servers state shop\n")
            told = b"".join(iter(lambda: connection.recv(65536), b"")).decode().splitlines()
        names = told[1].lstrip("# ").split()
        rows = [dict(zip(names, line.split(), strict=False)) for line in told[2:] if line]
        return {row["srv_name"]: int(row["srv_uweight"]) for row in rows}

    def _shops(self) -> dict[str, int]:
        versions = {"old-1": "1.0", "old-2": "1.0", "old-3": "1.0", "canary-1": "2.0"}
        return {name: self._shop(name, version) for name, version in versions.items()}

    def _shop(self, name: str, version: str) -> int:
        """Start one; gives its port."""
        port = free_port()
        shop = Process(self.folder, name, [sys.executable, "-m", "sretoolkit.rollout.local.shop", version, str(port)])
        self._stack.callback(shop.stop)
        shop.wait_for(f"http://127.0.0.1:{port}/health")
        return port


class Witness:
    """Looks at the weights again and again; ``seen`` is each state that differs from the one before, with when it began."""

    def __init__(self, proxy: Haproxy) -> None:
        self.seen: list[tuple[float, dict[str, int]]] = []
        self._proxy = proxy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def settled(self) -> list[tuple[float, dict[str, int]]]:
        """Without what was only passed through, as one server's weight is set after the other's."""
        ends = [at for at, _ in self.seen[1:]] + [math.inf]
        return [state for state, end in zip(self.seen, ends, strict=True) if end - state[0] > _PASSING]

    def _look(self) -> None:
        while not self._over.wait(0.01):
            found = self._proxy.weights()
            if not self.seen or self.seen[-1][1] != found:
                self.seen.append((time.time(), found))
