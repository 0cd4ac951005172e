r"""A real Prometheus with a node_exporter for a test, in a folder of its own, on loopback only.

::

    with Prometheus(openmetrics="# TYPE x gauge\nx 1 1700000000\n# EOF\n") as server:
        connect(server.source).instant("x", at=datetime.fromtimestamp(1700000000, UTC))
"""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from sretoolkit.metrics import connect
from sretoolkit.metrics.sources._prometheus_protobuf import packed
from tests.stack.authority import Authority
from tests.stack.dataset import METRIC, Dataset
from tests.stack.process import Process, free_port, program, unpacked

_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start
USER, PASSWORD = "reader", "open-sesame-2"
RULES = [
    {
        "alert": "AlwaysFiring",
        "expr": "vector(1)",
        "labels": {"severity": "page"},
        "annotations": {"summary": "it burns"},
    },
    {"alert": "Soon", "expr": "vector(1)", "for": "1h", "labels": {"severity": "warning"}},
    {"alert": "Never", "expr": "vector(1) > 2"},
    {"record": "job:up:sum", "expr": "sum by (job) (up)"},
]


class Prometheus:
    """Scrapes itself (job ``prometheus``), a node_exporter (``node``) and nothing (``down``) every second.

    ``openmetrics`` is history, written before the start: its values are known exactly. ``version`` "" is the installed
    one, "3" the one unpacked beside it. ``alerting`` adds an Alertmanager and `RULES`, ``pushed`` a Pushgateway,
    ``secured`` TLS with client certificates and a login (`USER`, `PASSWORD`); its files are in ``folder``. ``scrapes``
    are more entries of its ``scrape_configs``.
    """

    def __init__(
        self, *, openmetrics: str = "", version: str = "", alerting: bool = False, pushed: bool = False,
        secured: bool = False, scrapes: Sequence[Mapping[str, Any]] = (),
    ) -> None:  # fmt: skip
        self.scrapes = scrapes
        self.openmetrics = openmetrics
        self.version = version
        self.alerting, self.pushed, self.secured = alerting, pushed, secured
        self.folder = Path()
        self.port = self.node_port = self.alertmanager_port = self.pushgateway_port = 0
        self.process: Process | None = None
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"{'https' if self.secured else 'http'}://127.0.0.1:{self.port}"

    @property
    def alertmanager(self) -> str:
        """The address of the Alertmanager."""
        return f"http://127.0.0.1:{self.alertmanager_port}"

    @property
    def pushgateway(self) -> str:
        """The address of the Pushgateway."""
        return f"http://127.0.0.1:{self.pushgateway_port}"

    @property
    def source(self) -> str:
        """The address as sretoolkit takes it."""
        return f"prometheus+{self.url}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a configured source."""
        given = {"kind": "prometheus", "url": self.url}
        if self.alerting:
            given["alertmanager"] = self.alertmanager
        if self.secured:
            files = {"ca": "authority.pem", "cert": "client.pem", "key": "client.key"}
            given |= {name: str(self.folder / file) for name, file in files.items()}
            given |= {"username": USER, "password": "env:STACK_PROMETHEUS_PASSWORD"}
        return given

    @property
    def secrets(self) -> dict[str, str]:
        """The environment that `options` names."""
        return {"STACK_PROMETHEUS_PASSWORD": PASSWORD} if self.secured else {}

    def load(self, dataset: Dataset) -> None:
        """Write the data set; the server is started again for it."""
        lines = [f"# TYPE {METRIC} unknown"]
        for labels, points in dataset.labelled():
            name = ",".join(f'{key}="{value}"' for key, value in labels.items())
            lines += [f"{METRIC}{{{name}}} {point.total} {point.time}" for point in points]
        self.openmetrics = "\n".join([*lines, "# EOF", ""])
        self.stop()
        self._backfill()
        self.start()
        with connect(self.source) as source:
            count = f"count({METRIC})"
            assert len(dataset.series) == source.instant(count, at=dataset.moment).values[0, 0]

    def write_histogram(self, name: str, times: Sequence[int]) -> None:
        """A native histogram by remote write: with each time (epoch seconds) 10 observations in (1, 2] and 10 in (2, 4]."""
        series = field(1, field(1, b"__name__") + field(2, name.encode()))
        for number, time in enumerate(times, 1):
            histogram = field(1, 20 * number) + fixed(3, 50.0 * number) + field(4, 0) + fixed(5, 1e-9)
            histogram += field(11, field(1, 2) + field(2, 2))  # from bucket 1 on (a signed number), two buckets
            histogram += field(12, varint(2 * 10 * number) + varint(0)) + field(15, time * 1000)
            series += field(4, histogram)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        headers["X-Prometheus-Remote-Write-Version"] = "0.1.0"
        request = urllib.request.Request(f"{self.url}/api/v1/write", packed(field(1, series)), headers, method="POST")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
            pass

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="prometheus-"))
            self._stack.callback(shutil.rmtree, self.folder)
            self._backfill()
            self._secure()
            self.node_port = self._exporter()
            self.alertmanager_port = self._alertmanager() if self.alerting else 0
            self.pushgateway_port = self._pushgateway() if self.pushed else 0
            self._stack.callback(self.stop)
            self.port = self._retried(self.start)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, port: int = 0) -> None:
        """Start the server, once more at the same port."""
        self.port = port or self.port
        self._configure()

        command = [str(self._program()), f"--config.file={self.folder / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={self.folder / 'data'}", "--storage.tsdb.retention.time=20y"]
        command += ["--web.enable-remote-write-receiver", "--rules.alert.resend-delay=1s"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--enable-feature=native-histograms"]
        if self.secured:
            command += [f"--web.config.file={self.folder / 'web.yml'}"]
        self.process = Process(self.folder, "prometheus", command)
        if self.secured:
            self._wait_for_log()
        else:
            self.process.wait_for(f"{self.url}/-/ready")

    def stop(self) -> None:
        """End the server."""
        if self.process:
            self.process.stop()
            self.process = None

    def _program(self) -> Path:
        if self.version:
            return unpacked("prometheus", self.version) / "usr/bin/prometheus"
        return Path(program("prometheus", "prometheus"))

    def _backfill(self) -> None:
        if self.openmetrics:
            history = self.folder / "history.om"
            history.write_text(self.openmetrics)
            command = [program("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", str(history)]
            done = subprocess.run(
                [*command, str(self.folder / "data")], check=False, capture_output=True, text=True, timeout=120
            )
            if done.returncode != 0:
                raise RuntimeError(f"promtool cannot read the history:\n{done.stdout}{done.stderr}")

    def _secure(self) -> None:
        if not self.secured:
            return
        import bcrypt

        authority = Authority(self.folder)
        cert, key = authority.issue("server")
        authority.issue("client")
        Authority(self.folder, "stranger")
        tls = {"cert_file": str(cert), "key_file": str(key), "client_auth_type": "RequireAndVerifyClientCert"}
        tls["client_ca_file"] = str(authority.file)
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        web = {"tls_server_config": tls, "basic_auth_users": {USER: hashed}}
        (self.folder / "web.yml").write_text(json.dumps(web))

    def _exporter(self) -> int:
        collectors = ["cpu", "loadavg", "meminfo", "stat"]
        command = [program("prometheus-node-exporter", "prometheus-node-exporter"), "--collector.disable-defaults"]
        command += [f"--collector.{name}" for name in collectors]
        return self._beside("node_exporter", command, "/metrics")

    def _alertmanager(self) -> int:
        route = {"receiver": "none", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"}
        config = {"route": route, "receivers": [{"name": "none"}]}
        (self.folder / "alertmanager.yml").write_text(json.dumps(config))
        command = [program("prometheus-alertmanager", "prometheus-alertmanager"), "--cluster.listen-address="]
        command += [f"--config.file={self.folder / 'alertmanager.yml'}", f"--storage.path={self.folder / 'silences'}"]
        return self._beside("alertmanager", command, "/-/ready")

    def _pushgateway(self) -> int:
        command = [program("prometheus-pushgateway", "prometheus-pushgateway")]
        return self._beside("pushgateway", command, "/-/ready")

    def _beside(self, name: str, command: list[str], page: str) -> int:
        def start(port: int) -> None:
            process = Process(self.folder, name, [*command, f"--web.listen-address=127.0.0.1:{port}"])
            process.wait_for(f"http://127.0.0.1:{port}{page}")
            self._stack.callback(process.stop)

        return self._retried(start)

    def _retried(self, start: Callable[[int], None]) -> int:
        for attempt in range(_ATTEMPTS):
            port = free_port()
            try:
                start(port)
            except RuntimeError as error:
                if "address already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                for log in self.folder.glob("*.log"):
                    log.write_text("")
                continue
            return port
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait_for_log(self) -> None:
        """A secured server's pages are not for everybody: its log says when it is ready."""
        process = self.process
        assert process is not None
        ready = poll(
            lambda: "ready to receive web requests" in process.log.read_text() or process.child.poll() is not None,
            timeout=30,
        )
        if not ready or process.child.poll() is not None:
            raise RuntimeError(process.log.read_text()[-4000:])
        with socket.create_connection(("127.0.0.1", self.port), timeout=10):
            pass

    def _configure(self) -> None:
        targets = dict(self._targets())
        jobs = [
            {"job_name": job, "honor_labels": job == "push", "static_configs": [{"targets": [f"127.0.0.1:{at}"]}]}
            for job, at in targets.items()
        ]
        config: dict[str, Any] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config = {"global": {**config, "external_labels": {"replica": "a"}}, "scrape_configs": [*jobs, *self.scrapes]}
        if self.alerting:
            groups = {"groups": [{"name": "shop", "interval": "1s", "rules": RULES}]}
            (self.folder / "rules.yml").write_text(json.dumps(groups))
            config["rule_files"] = [str(self.folder / "rules.yml")]
            receivers = [{"targets": [f"127.0.0.1:{self.alertmanager_port}"]}]
            config["alerting"] = {"alertmanagers": [{"static_configs": receivers}]}
        (self.folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    def _targets(self) -> Iterator[tuple[str, int]]:
        if not self.secured:
            yield "prometheus", self.port
        yield from {"node": self.node_port, "down": 1}.items()
        if self.pushed:
            yield "push", self.pushgateway_port


def field(number: int, content: int | bytes) -> bytes:
    """A field of a protobuf message; what is 0 is left out, as proto3 wants it."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content) if content else b""
    return varint(number << 3 | 2) + varint(len(content)) + content


def fixed(number: int, content: float) -> bytes:
    """A field of eight bytes."""
    return varint(number << 3 | 1) + struct.pack("<d", content)


def varint(number: int) -> bytes:
    """A whole number of a message."""
    number &= (1 << 64) - 1
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def openmetrics_name(metric: str, labels: Mapping[str, str]) -> str:
    """A series' name as OpenMetrics text."""
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    inside = ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels.items())
    return f"{metric}{{{inside}}}"
