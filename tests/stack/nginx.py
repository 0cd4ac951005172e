"""A real nginx before shops of two versions, in a folder of its own, with customers who count what they lose."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Self

from tests.stack.process import program
from tests.stack.proxy import Proxy

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


class Nginx(Proxy):
    """Two shops of version 1.0 and one of 2.0, with a load of ``rate`` requests a second over connections that are kept.

    ``share``: the file that shares them out, as its router writes it at first; ``servers``: upstream name ("old", "new") to
    ports of others instead, which somebody else starts.
    """

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

    def reload(self) -> None:
        """As somebody else does it."""
        assert self._running is not None
        self._running.child.send_signal(signal.SIGHUP)

    def reloads(self) -> int:
        """How often its master was told to, by its own log."""
        return (self.folder / "error.log").read_text().count("signal 1 (SIGHUP) received")

    def __enter__(self) -> Self:
        with self._stack:
            self._settle()
            ports = self.servers or {"old": self._shop("old", "1.0"), "new": self._shop("new", "2.0")}
            servers = {name: f"server 127.0.0.1:{port} max_fails=0;" for name, port in ports.items()}
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            temporary = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
            about = {"folder": self.folder, "port": self.port, "temporary": temporary}
            (self.folder / "nginx.conf").write_text(_CONFIG.format(**about, **servers))
            self.file.write_text(self._begin())
            command = [program("nginx", "nginx-light"), "-c", f"{self.folder}/nginx.conf"]
            self._run(command, f"http://127.0.0.1:{self.told}/")
            self._stack = self._stack.pop_all()
        return self

    def _begin(self) -> str:
        from sretoolkit.rollout.routers.nginx import Nginx as Router

        return Router.of(self.options).text(0)
