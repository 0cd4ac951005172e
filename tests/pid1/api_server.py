"""A part of a Kubernetes API server on loopback: it answers what a test gave it, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class ApiServer:
    """``answers`` has for each path an object, a list of objects, or a status that is refused with; else 404."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.patches: list[dict[str, Any]] = []
        self.conflicts = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._get(self)

            def do_PATCH(self) -> None:
                outer._patch(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing is to be printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.kubeconfig = folder / "kubeconfig"
        url = f"http://127.0.0.1:{self._server.server_port}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(json.dumps(content))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        if "watch" in parse_qs(url.query):
            _say(request, 200, b"".join(json.dumps(event).encode() + b"\n" for event in self.events))
            return
        found = self.answers.get(url.path, 404)
        if isinstance(found, int):
            _say(request, found, json.dumps({"message": f"status {found} of the test"}).encode())
        else:
            _say(request, 200, json.dumps({"items": found} if isinstance(found, list) else found).encode())

    def _patch(self, request: BaseHTTPRequestHandler) -> None:
        self.patches.append(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        if self.conflicts:
            self.conflicts -= 1
            _say(request, 409, json.dumps({"message": "the object has been modified"}).encode())
            return
        _say(request, 200, json.dumps(self.answers[urlsplit(request.path).path]).encode())


def _say(request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
