"""A real nginx before shops of two versions, in a folder of its own, with customers who count what they lose."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.stack.process import Process, free_port, program

_CONFIG = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 1024; }}
http {{
  access_log /dev/null;
  {temporary}
  upstream old {{ {old} keepalive 16; }}
  upstream new {{ {new} keepalive 16; }}
  include {folder}/share.conf;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://$shop; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class Nginx:
    """Two shops of version 1.0 and one of 2.0, with a load of ``rate`` requests a second over connections that are kept.

    ``share``: the file that shares them out, as its router writes it at first; ``servers``: upstream name ("old", "new") to
    ports of others instead, which somebody else starts.
    """

    def __init__(self, *, rate: float = 200, servers: Mapping[str, int] | None = None) -> None:
        self.rate = rate
        self.servers = servers
        self.port, self.told = free_port(), free_port()
        self.folder = Path()
        self._stack = ExitStack()
        self._running: Process | None = None

    @property
    def file(self) -> Path:
        """The generated file."""
        return self.folder / "share.conf"

    @property
    def options(self) -> dict[str, Any]:
        """Of the router."""
        return {
            "kind": "nginx", "name": "shop", "stable": "old", "candidate": "new", "file": str(self.file),
            "port": self.told, "log": f"{self.folder}/share.log", "command": ["nginx", "-c", f"{self.folder}/nginx.conf"],
        }  # fmt: skip

    @property
    def served(self) -> dict[str, int]:
        """What customers saw so far."""
        told = self.folder / "load.json"
        found: dict[str, int] = json.loads(told.read_text()) if told.exists() else {}
        return found

    def reload(self) -> None:
        """As somebody else does it."""
        assert self._running is not None
        self._running.child.send_signal(signal.SIGHUP)

    def reloads(self) -> int:
        """How often its master was told to, by its own log."""
        return (self.folder / "error.log").read_text().count("signal 1 (SIGHUP) received")

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="nginx-"))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            ports = self.servers or {"old": self._shop("old", "1.0"), "new": self._shop("new", "2.0")}
            servers = {name: f"server 127.0.0.1:{port} max_fails=0;" for name, port in ports.items()}
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            temporary = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
            about = {"folder": self.folder, "port": self.port, "temporary": temporary}
            (self.folder / "nginx.conf").write_text(_CONFIG.format(**about, **servers))
            self.file.write_text(self._begin())
            self._running = Process(
                self.folder, "nginx", [program("nginx", "nginx-light"), "-c", f"{self.folder}/nginx.conf"]
            )
            self._stack.callback(self._running.stop)
            self._running.wait_for(f"http://127.0.0.1:{self.told}/")
            load = [sys.executable, "-m", "sretoolkit.rollout.local.load", str(self.port), str(self.rate)]
            self._stack.callback(Process(self.folder, "load", [*load, str(self.folder / "load.json")]).stop)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> str:
        from sretoolkit.rollout.routers.nginx import Nginx as Router

        return Router.of(self.options).text(0)

    def _shop(self, name: str, version: str) -> int:
        port = free_port()
        shop = Process(self.folder, name, [sys.executable, "-m", "sretoolkit.rollout.local.shop", version, str(port)])
        self._stack.callback(shop.stop)
        shop.wait_for(f"http://127.0.0.1:{port}/health")
        return port
