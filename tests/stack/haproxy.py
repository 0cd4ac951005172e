"""A real HAProxy before shops of two versions, in a folder of its own, with customers who count what they lose."""

from __future__ import annotations

import math
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from sretoolkit.clock import poll
from tests.stack.process import Process, program
from tests.stack.proxy import Proxy

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


class Haproxy(Proxy):
    """Three shops of version 1.0 (``old-…``) and one of 2.0 (``canary-1``), with a load of ``rate`` requests a second.

    ``servers``: names and ports of others instead, which somebody else starts. Those that begin with ``canary`` have the
    weight 0 at first. Its metrics, as Prometheus reads them, are at ``told``.
    """

    @property
    def socket(self) -> Path:
        """Its stats socket."""
        return self.folder / "haproxy.sock"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.folder / "haproxy.cfg"

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
            self._settle()
            servers = [
                f"  server {name} 127.0.0.1:{port} weight {0 if name.startswith('canary') else 100}  # {name}"
                for name, port in (self._shops() if self.servers is None else self.servers).items()
            ]
            text = _CONFIG.format(folder=self.folder, port=self.port, told=self.told, servers="\n".join(servers))
            self.config.write_text(text)
            command = [program("haproxy", "haproxy"), "-f", str(self.config), "-db"]
            self._run(command, f"http://127.0.0.1:{self.port}/health")
            self._stack = self._stack.pop_all()
        return self

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
