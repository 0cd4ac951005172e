r"""A real Prometheus with a node_exporter for a test, in a folder of its own, on loopback only.

::

    with Prometheus(openmetrics="# TYPE x gauge\nx 1 1700000000\n# EOF\n") as server:
        connect(server.source).instant("x", at=datetime.fromtimestamp(1700000000, UTC))
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start


class Prometheus:
    """Scrapes itself (job ``prometheus``), a node_exporter (``node``) and nothing (``down``) every second.

    ``openmetrics`` is history, written before the start: its values are known exactly.
    """

    def __init__(self, *, openmetrics: str = "") -> None:
        self.openmetrics = openmetrics
        self.folder = Path()
        self.port = self.node_port = 0
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def source(self) -> str:
        """The address as sretoolkit takes it."""
        return f"prometheus+{self.url}"

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
            self._stack.callback(shutil.rmtree, self.folder)
            self._backfill()
            self.node_port = self._exporter()
            self.port = self._server()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _backfill(self) -> None:
        if self.openmetrics:
            history = self.folder / "history.om"
            history.write_text(self.openmetrics)
            command = [program("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", str(history)]
            done = subprocess.run(
                [*command, str(self.folder / "data")], check=False, capture_output=True, text=True, timeout=60
            )
            if done.returncode != 0:
                raise RuntimeError(f"promtool cannot read the history:\n{done.stdout}{done.stderr}")

    def _exporter(self) -> int:
        collectors = ["cpu", "loadavg", "meminfo", "stat"]
        command = [program("prometheus-node-exporter", "prometheus-node-exporter"), "--collector.disable-defaults"]
        command += [f"--collector.{name}" for name in collectors]
        return self._started("node_exporter", command, "/metrics")

    def _server(self) -> int:
        command = [program("prometheus", "prometheus"), f"--config.file={self.folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={self.folder / 'data'}", "--storage.tsdb.retention.time=20y"]
        return self._started("prometheus", command, "/-/ready")

    def _started(self, name: str, command: list[str], page: str) -> int:
        for attempt in range(_ATTEMPTS):
            port = free_port()
            if name == "prometheus":
                self._configure(port)
            process = Process(self.folder, name, [*command, f"--web.listen-address=127.0.0.1:{port}"])
            try:
                process.wait_for(f"http://127.0.0.1:{port}{page}")
            except RuntimeError as error:
                if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                process.log.unlink()
                continue
            self._stack.callback(process.stop)
            return port
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _configure(self, port: int) -> None:
        targets = {"prometheus": port, "node": self.node_port, "down": 1}
        jobs = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{at}"]}]} for job, at in targets.items()]
        config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
