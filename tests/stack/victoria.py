"""A real VictoriaMetrics (single node) for a test, in a folder of its own, on loopback only."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from sretoolkit.errors import NoData
from sretoolkit.metrics import connect
from tests.stack.dataset import METRIC, Dataset
from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5


class Victoria:
    """Keeps what is written to it, from 1970 on. ``caching`` as usual: then it moves a range's moments to whole steps."""

    def __init__(self, *, caching: bool = False) -> None:
        self.caching = caching
        self.port = 0
        self.process: Process | None = None
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def source(self) -> str:
        """The address as sretoolkit takes it."""
        return f"prometheus+{self.url}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a configured source."""
        return {"kind": "prometheus", "url": self.url}

    @property
    def secrets(self) -> dict[str, str]:
        """No login."""
        return {}

    def load(self, dataset: Dataset) -> None:
        """Write the data set and wait until it can be read."""
        self.write(
            ({"__name__": METRIC, **labels}, {point.time: float(point.total) for point in points})
            for labels, points in dataset.labelled()
        )
        with connect(self.source) as source:

            def there() -> bool:
                try:
                    found = source.instant(f"count({METRIC})", at=dataset.moment)
                except NoData:
                    return False
                return bool(found.values[0, 0] == len(dataset.series))

            assert poll(there, timeout=30)

    def write(self, series: Iterable[tuple[Mapping[str, str], Mapping[int, float]]]) -> None:
        """Write series: labels, and values by epoch second."""
        lines = [
            json.dumps({"metric": labels, "values": list(seen.values()), "timestamps": [time * 1000 for time in seen]})
            for labels, seen in series
        ]
        body = "\n".join(lines).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(f"{self.url}/api/v1/import", body, method="POST"), timeout=10):
            pass

    def __enter__(self) -> Self:
        with self._stack:
            folder = Path(tempfile.mkdtemp(prefix="victoria-"))
            self._stack.callback(shutil.rmtree, folder)
            command = [program("victoria-metrics", "victoria-metrics"), f"-storageDataPath={folder / 'data'}"]
            command += ["-retentionPeriod=100y", "-search.latencyOffset=0s"]
            command += [] if self.caching else ["-search.disableCache"]
            for attempt in range(_ATTEMPTS):
                self.port = free_port()
                process = Process(folder, "victoria", [*command, f"-httpListenAddr=127.0.0.1:{self.port}"])
                try:
                    process.wait_for(f"{self.url}/health")
                except RuntimeError as error:
                    if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                        raise
                    process.log.unlink()
                    continue
                self.process = process
                self._stack.callback(process.stop)
                break
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
