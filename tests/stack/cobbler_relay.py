"""Inside Cobbler's namespaces: cobblerd, and before it what Apache does at a real site (``/cobbler_api`` to port 25151).

``python cobbler_relay.py SOCKET COBBLERD``: SOCKET is the number of an open listening socket. As the first process of its
namespace it takes everything along when it ends, and it ends when cobblerd does.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_DAEMON = ("127.0.0.1", 25151)


class Relay(BaseHTTPRequestHandler):
    """Hands a request on and its answer back."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One call of the API."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        daemon = http.client.HTTPConnection(*_DAEMON, timeout=600)
        try:
            daemon.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            answer = daemon.getresponse()
            content, status = answer.read(), answer.status
        except OSError as error:
            content, status = str(error).encode(), 503
        finally:
            daemon.close()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the log is cobblerd's."""


def main() -> int:
    """Relay until cobblerd ends; gives its exit code."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return subprocess.run(
        [sys.executable, sys.argv[2], "--no-daemonize"], env={**os.environ, "LC_ALL": "C.UTF-8"}
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
