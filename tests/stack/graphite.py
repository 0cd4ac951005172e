r"""A real Graphite (carbon-cache, whisper, graphite-web under gunicorn) for a test, on loopback only.

::

    with Graphite() as server:
        server.write([("requests;code=200", 5.0, 1700000000)])
        connect(server.source).range('seriesByTag("name=requests")', window=timedelta(minutes=5))
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from sretoolkit.clock import poll
from tests.stack.dataset import METRIC, Dataset
from tests.stack.process import Process, free_port, program

_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start
_SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's packages are of the system's own Python
_CARBON = """[cache]
STORAGE_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper/
CONF_DIR = {folder}/conf/
LOG_DIR = {folder}/log/
PID_DIR = {folder}/run/
USER =
DATABASE = whisper
MAX_CACHE_SIZE = inf
MAX_UPDATES_PER_SECOND = inf
MAX_CREATES_PER_MINUTE = inf
MIN_TIMESTAMP_RESOLUTION = 1
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
ENABLE_TAGS = True
GRAPHITE_URL = http://127.0.0.1:{web}
TAG_UPDATE_INTERVAL = 1
TAG_QUEUE_SIZE = 10000
CARBON_METRIC_INTERVAL = 1
"""
_SCHEMAS = "[carbon]\npattern = ^carbon\\.\nretentions = 60s:1d\n[all]\npattern = .*\nretentions = {retentions}\n"
_AGGREGATION = "[all]\npattern = .*\nxFilesFactor = 0\naggregationMethod = {method}\n"
_WEB = """SECRET_KEY = 'test'
ALLOWED_HOSTS = ['*']
TIME_ZONE = 'UTC'
LOG_ROTATION = False
DEFAULT_XFILES_FACTOR = 0
GRAPHITE_ROOT = '/usr/share/graphite-web'
CONF_DIR = '{folder}/conf'
STORAGE_DIR = '{folder}'
STATIC_ROOT = '/usr/share/graphite-web/static'
LOG_DIR = '{folder}/log'
INDEX_FILE = '{folder}/search_index'
WHISPER_DIR = '{folder}/whisper'
CARBONLINK_HOSTS = ['127.0.0.1:{query}']
DATABASES = {{'default': {{'NAME': '{folder}/graphite.db', 'ENGINE': 'django.db.backends.sqlite3',
                          'USER': '', 'PASSWORD': '', 'HOST': '', 'PORT': ''}}}}
MEMCACHE_HOSTS = []
DEFAULT_CACHE_DURATION = FIND_CACHE_DURATION = TAGDB_CACHE_DURATION = 0
"""


class Graphite:
    """Keeps a point every ten seconds for six hours, then one a minute for two days (rolled up by ``method``)."""

    def __init__(self, *, retentions: str = "10s:6h,60s:2d", method: str = "average") -> None:
        self.retentions, self.method = retentions, method
        self.folder = Path()
        self.ports: dict[str, int] = {}
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the web application."""
        return f"http://127.0.0.1:{self.ports['web']}"

    @property
    def source(self) -> str:
        """The address as sretoolkit takes it."""
        return f"graphite+{self.url}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of a configured source."""
        return {"kind": "graphite", "url": self.url}

    @property
    def secrets(self) -> dict[str, str]:
        """No login."""
        return {}

    def __enter__(self) -> Self:
        with self._stack:
            self.folder = Path(tempfile.mkdtemp(prefix="graphite-"))
            self._stack.callback(shutil.rmtree, self.folder)
            for name in ("conf", "whisper", "log", "run"):
                (self.folder / name).mkdir()
            programs = [program("carbon-cache", "graphite-carbon"), program("gunicorn", "gunicorn")]
            manage = program("graphite-manage", "graphite-web")
            self._configure()
            command = self._python(manage, "migrate", "--run-syncdb", "-v0")
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                raise RuntimeError(f"graphite-web cannot make its database:\n{done.stdout}{done.stderr}")
            self._started(*programs)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, points: Sequence[tuple[str, float, int]]) -> None:
        """Send points (path with tags, value, epoch seconds) as a plaintext client does."""
        lines = "".join(f"{path} {value!r} {time}\n" for path, value, time in points)
        with socket.create_connection(("127.0.0.1", self.ports["line"]), timeout=30) as connection:
            connection.sendall(lines.encode())

    def load(self, dataset: Dataset) -> None:
        """Write the data set, a delta an interval and tags; returns when all of it can be read."""
        points, paths = [], set()
        for labels, series in dataset.labelled():
            path = METRIC + "".join(f";{name}={value}" for name, value in sorted(labels.items()))
            paths.add(path)
            points += [(path, float(point.delta), point.time) for point in series]
        self.write(points)
        first, count = dataset.end - len(series) * 10, len(points)
        target = {"target": f'seriesByTag("name={METRIC}")', "format": "json", "from": first, "until": dataset.end}
        if not poll(lambda: self._kept(target, paths) == count, timeout=60, interval=0.2):
            raise RuntimeError(f"of {count} points only {self._kept(target, paths)} can be read")

    def _kept(self, parameters: dict[str, Any], paths: set[str]) -> int:
        found = self.ask(f"/render?{urlencode(parameters)}")
        return sum(value is not None for one in found if one["target"] in paths for value, _ in one["datapoints"])

    def ask(self, path: str) -> Any:
        """The JSON at a path."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=30) as response:
            return json.loads(response.read())

    def post(self, path: str, body: Any) -> None:
        """Send JSON to a path."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with opener.open(request, timeout=30) as response:
            response.read()

    def _configure(self) -> None:
        self.ports = {name: free_port() for name in ("web", "line", "pickle", "query")}
        given = {"folder": self.folder, "retentions": self.retentions, "method": self.method, **self.ports}
        texts = {"carbon.conf": _CARBON, "storage-schemas.conf": _SCHEMAS, "storage-aggregation.conf": _AGGREGATION}
        for name, text in {**texts, "local_settings.py": _WEB}.items():
            (self.folder / "conf" / name).write_text(text.format(**given))

    def _started(self, carbon: str, gunicorn: str) -> None:
        for attempt in range(_ATTEMPTS):
            log = self.folder / "carbon.log"
            environment = ["env", f"GRAPHITE_ROOT={self.folder}", "PATH=/usr/bin:/bin"]
            config = f"--config={self.folder}/conf/carbon.conf"
            cache = Process(self.folder, "carbon", [*environment, carbon, config, "--nodaemon", "start"])
            address = f"127.0.0.1:{self.ports['web']}"
            serving = ["-b", address, "-w", "1", "--threads", "4", "graphite.wsgi:application"]
            web = Process(self.folder, "web", self._python(gunicorn, *serving))
            try:
                web.wait_for(f"{self.url}/version/", timeout=60)
                if not poll(lambda cache=cache: cache.child.poll() is not None or self._listening(), timeout=30):  # type: ignore[misc]
                    raise RuntimeError(f"carbon-cache does not listen:\n{log.read_text(errors='replace')[-4000:]}")
                if cache.child.poll() is not None:
                    raise RuntimeError(f"carbon-cache ended:\n{log.read_text(errors='replace')[-4000:]}")
            except RuntimeError as error:
                for process in (web, cache):
                    process.stop()
                told = str(error).lower()
                if "in use" not in told or attempt == _ATTEMPTS - 1:
                    raise
                for process in (web, cache):
                    process.log.unlink(missing_ok=True)
                self._configure()
                continue
            self._stack.callback(cache.stop)
            self._stack.callback(web.stop)
            return

    def _listening(self) -> bool:
        for name in ("line", "query"):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[name])) != 0:
                    return False
        return True

    def _python(self, *command: str) -> list[str]:
        settings = ["DJANGO_SETTINGS_MODULE=graphite.settings", "GRAPHITE_SETTINGS_MODULE=local_settings"]
        path = f"PYTHONPATH={self.folder}/conf"
        keep = [f"{name}={os.environ[name]}" for name in ("LANG", "LC_ALL") if name in os.environ]
        return ["env", "-i", "PATH=/usr/bin:/bin", *keep, *settings, path, _SYSTEM_PYTHON, "-W", "ignore", *command]
