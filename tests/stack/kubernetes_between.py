"""Somebody between a client and the real API server, who answers some requests in its place."""

from __future__ import annotations

import http.client
import http.server
import json
import ssl
import tempfile
import threading
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from tests.stack.kubernetes import Cluster

_KEPT = ("Accept", "Content-Type", "User-Agent")
Fault = Callable[[str, str, int], int]


class Between:
    """A kubeconfig (``kubeconfig``, of the same context) whose server is this one.

    ``fault`` is given method, path and how often this very request was made before; it gives the status that is answered: 0 =
    the API server's own answer, 500 = what 500 says; a negative one is answered after the API server has done the request.
    """

    def __init__(self, cluster: Cluster, fault: Fault) -> None:
        self.fault = fault
        self.answered: list[tuple[str, int]] = []
        self._seen: dict[tuple[str, str, bytes], int] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="between-")
        told = yaml.safe_load(cluster.kubeconfig.read_text())
        self._server = urlsplit(told["clusters"][0]["cluster"]["server"])
        self._tls = self._trusting(told)
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})
        told["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._http.server_port}"}
        told["users"][0]["user"] = {}
        self.kubeconfig = Path(self._folder.name) / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(told))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._folder.cleanup()

    def _trusting(self, told: dict[str, Any]) -> ssl.SSLContext:
        """The administrator's own certificate, and the authority."""
        user, about = told["users"][0]["user"], told["clusters"][0]["cluster"]
        given = {
            "authority": about.get("certificate-authority-data"),
            "certificate": user.get("client-certificate-data"),
            "key": user.get("client-key-data"),
        }
        paths = {
            "authority": about.get("certificate-authority"),
            "certificate": user.get("client-certificate"),
            "key": user.get("client-key"),
        }
        for name, data in given.items():
            if data:
                paths[name] = str(Path(self._folder.name) / name)
                Path(paths[name]).write_bytes(b64decode(data))
        context = ssl.create_default_context(cafile=paths["authority"])
        context.load_cert_chain(paths["certificate"], paths["key"])
        return context

    def _chosen(self, method: str, path: str, body: bytes) -> int:
        key = (method, path.partition("?")[0], body)
        before = self._seen[key] = self._seen.get(key, -1) + 1
        status = self.fault(method, path, before)
        if status:
            self.answered.append((method, status))
        return status

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = between._chosen(self.command, self.path, body)
                if status <= 0:
                    upstream = http.client.HTTPSConnection(
                        between._server.hostname or "", between._server.port, context=between._tls, timeout=60
                    )
                    kept = {name: self.headers[name] for name in _KEPT if self.headers[name]}
                    with closing(upstream):
                        upstream.request(self.command, self.path, body, kept)
                        with upstream.getresponse() as answer:
                            if not status:
                                self._pass_on(answer)
                                return
                            answer.read()
                self._refuse(abs(status))

            def _pass_on(self, answer: http.client.HTTPResponse) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Connection", "close")
                self.end_headers()
                while piece := answer.read1(65536):
                    self.wfile.write(piece)
                    self.wfile.flush()

            def _refuse(self, status: int) -> None:
                told = {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "message": "told to refuse",
                    "code": status,
                }
                content = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                if status == 429:
                    self.send_header("Retry-After", "1")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_one

            def handle(self) -> None:
                with suppress(OSError, http.client.HTTPException):  # somebody has gone
                    super().handle()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
