"""A real InfluxDB (1.x, as packaged) for a test: its InfluxQL is what versions 2 and 3 answer, too."""

from __future__ import annotations

import shutil
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.stack.dataset import METRIC, Dataset
from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5


class Influxdb:
    """A server with the database ``shop``, in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path()
        self.port = 0
        self.secrets: dict[str, str] = {}
        self._process: Process | None = None

    @property
    def options(self) -> dict[str, Any]:
        """As a configured source."""
        return {"kind": "influxdb", "url": f"http://127.0.0.1:{self.port}", "database": "shop"}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="influxdb-"))
        try:
            self._start()
            self.ask("CREATE DATABASE shop")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.stop()
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        for attempt in range(_ATTEMPTS):
            self.port, rpc = free_port(), free_port()
            config = self.folder / "influxdb.conf"
            config.write_text(
                f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n'
                f'[meta]\n  dir = "{self.folder}/meta"\n'
                f'[data]\n  dir = "{self.folder}/data"\n  wal-dir = "{self.folder}/wal"\n  query-log-enabled = false\n'
                f'[http]\n  bind-address = "127.0.0.1:{self.port}"\n  log-enabled = false\n[monitor]\n  store-enabled = false\n'
            )
            self._process = Process(self.folder, "influxd", [program("influxd", "influxdb"), "-config", str(config)])
            try:
                return self._process.wait_for(f"http://127.0.0.1:{self.port}/query?q=SHOW+DATABASES")
            except RuntimeError as error:
                if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                self._process.log.unlink()
        raise AssertionError("unreachable: the last attempt returns or raises")

    def ask(self, query: str) -> None:
        """Run a statement that changes something."""
        self._post("/query", urllib.parse.urlencode({"q": query}).encode())

    def write(self, lines: str) -> None:
        """Write line protocol with times in seconds."""
        self._post("/write?db=shop&precision=s", lines.encode())

    def load(self, dataset: Dataset) -> None:
        """Write the data set as cumulative counters."""
        self.write(
            "\n".join(
                f"{METRIC},{','.join(f'{name}={value}' for name, value in labels.items())} value={point.total} {point.time}"
                for labels, points in dataset.labelled()
                for point in points
            )
        )

    def _post(self, path: str, content: bytes) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, method="POST")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            answer.read()
