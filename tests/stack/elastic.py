"""A real server that speaks Elasticsearch's and OpenSearch's API (osmem-server), for a test, on loopback only.

It is a third party's binary, so that it runs as nobody where we are root.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.stack.dataset import METRIC, Dataset
from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start
_BULK = 500
_KEYWORDS = {name: {"type": "keyword"} for name in ("service", "code", "host")}
MAPPING = {"properties": {"@timestamp": {"type": "date"}, METRIC: {"type": "long"}, **_KEYWORDS}}


def binary() -> str:
    """The server's program; raises `RuntimeError` when its package is missing."""
    try:
        return str(importlib.import_module("osmem_server").resolve_binary())
    except (ImportError, OSError) as error:
        raise RuntimeError(f"osmem-server is missing; install it: pip install osmem-server==0.1.6 ({error})") from error


class Elastic:
    """An empty server; `index` makes an index, `bulk` writes documents."""

    def __init__(self) -> None:
        self.folder = Path()
        self.port = 0
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def source(self) -> str:
        """The address as sretoolkit takes it."""
        return f"elastic+{self.url}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a configured source."""
        return {"kind": "elastic", "url": self.url, "index": "requests-*", "events_index": "deploys"}

    @property
    def secrets(self) -> dict[str, str]:
        """No login."""
        return {}

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="elastic-"))
            self._stack.callback(shutil.rmtree, self.folder)
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        command = [binary(), "-no-stdin-watch", "-no-ja"]
        if os.getuid() == 0:
            nobody = ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]
            command = [program("setpriv", "util-linux"), *nobody, *command]
            self.folder.chmod(0o755)
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            process = Process(self.folder, "osmem", [*command, "-addr", f"127.0.0.1:{self.port}"])
            try:
                process.wait_for(self.url)
            except RuntimeError as error:
                if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                process.log.unlink()
                continue
            self._stack.callback(process.stop)
            return

    def load(self, dataset: Dataset) -> None:
        """Write the data set, a document a point; returns when all of it can be found."""
        self.index("requests-1", MAPPING)
        self.bulk(
            "requests-1",
            (
                {"@timestamp": point.time * 1000, METRIC: point.delta, **labels}
                for labels, points in dataset.labelled()
                for point in points
            ),
        )

    def index(self, name: str, mapping: Mapping[str, Any]) -> None:
        """Make an index."""
        self.ask("PUT", f"/{name}", {"mappings": mapping})

    def bulk(self, index: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Write documents, and wait until they can be found; raises `RuntimeError` when one is refused."""
        rest: Iterator[Mapping[str, Any]] = iter(documents)
        while some := list(islice(rest, _BULK)):
            body = "".join(f'{{"index": {{}}}}\n{json.dumps(document)}\n' for document in some)
            done = self._send("POST", f"/{index}/_bulk?refresh=true", body.encode(), "application/x-ndjson")
            if done["errors"]:
                raise RuntimeError(f"the server refused documents: {str(done['items'])[:1000]}")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request with a JSON body, and its answer."""
        return self._send(method, path, None if body is None else json.dumps(body).encode(), "application/json")

    def _send(self, method: str, path: str, body: bytes | None, kind: str) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind}, method=method)
        try:
            with opener.open(request, timeout=60) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:2000]!r}") from error
