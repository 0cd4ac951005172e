"""A real Zabbix (PostgreSQL, server, web API) for a test, in a folder of its own, on loopback only.

::

    with Zabbix("7.0") as server:
        server.create("h1", [Item("requests", tags={"service": "web"})])
        server.send([("h1", "requests", 5, 1700000000)])

The frontend's package reads its settings from ``/etc/zabbix/zabbix.conf.php`` and from nowhere else. That one file is
written when it is missing (or ours), and reads the environment, so that several servers run side by side.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sretoolkit.clock import poll
from tests.stack.dataset import METRIC, Dataset
from tests.stack.postgres import Postgres
from tests.stack.process import Process, free_port, program

_CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # read at once: each test has its own home
CACHE = Path(os.environ.get("SRETOOLKIT_STACK_CACHE") or _CACHES / "sretoolkit-stack")
_BACKEND, _FRONTEND = "zabbix-server-pgsql", "zabbix-frontend-php"
SETTINGS = Path("/etc/zabbix/zabbix.conf.php")
_ATTEMPTS = 5  # somebody else may take a free port between our look and the server's start
_PACKET = 250
_OURS = "// written by sretoolkit's tests/stack/zabbix.py"
_PHP = f"""<?php
{_OURS}
$DB = ['TYPE' => 'POSTGRESQL', 'SERVER' => '127.0.0.1', 'PORT' => getenv('ZBX_DB_PORT'), 'DATABASE' => 'zabbix',
  'USER' => 'postgres', 'PASSWORD' => '', 'SCHEMA' => '', 'ENCRYPTION' => false, 'KEY_FILE' => '', 'CERT_FILE' => '',
  'CA_FILE' => '', 'VERIFY_HOST' => false, 'CIPHER_LIST' => '', 'VAULT' => '', 'VAULT_URL' => '', 'VAULT_DB_PATH' => '',
  'VAULT_TOKEN' => '', 'VAULT_CERT_FILE' => '', 'VAULT_KEY_FILE' => '', 'DOUBLE_IEEE754' => true];
$ZBX_SERVER = '127.0.0.1';
$ZBX_SERVER_PORT = getenv('ZBX_PORT');
$ZBX_SERVER_NAME = 'test';
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""
_SERVER = """\
ListenIP=127.0.0.1
ListenPort={port}
DBHost=127.0.0.1
DBPort={database}
DBName=zabbix
DBUser=postgres
LogType=console
PidFile={folder}/run/server.pid
SocketDir={folder}/run
AlertScriptsPath={folder}/run
ExternalScripts={folder}/run
StartPollers=1
StartPreprocessors=1
StartTrappers=2
StartPollersUnreachable=1
StartHistoryPollers=1
StartDBSyncers=1
StartPingers=0
StartDiscoverers=0
StartHTTPPollers=0
StartIPMIPollers=0
StartLLDProcessors=1
StartEscalators=1
StartAlerters=1
StartTimers=1
StartReportWriters=0
CacheUpdateFrequency=1
HistoryCacheSize=8M
TrendCacheSize=4M
ValueCacheSize=8M
"""
_TABLES = "role|role_rule|users|usrgrp|users_groups|config|config_autoreg_tls|hstgrp|globalmacro|graph_theme|regexps|expressions"


@dataclass(frozen=True)
class Item:
    """A trapper item; ``value_type`` 0 float, 3 unsigned, 4 text."""

    key: str
    tags: Mapping[str, str] = field(default_factory=dict)
    value_type: int = 3
    history: str = "90d"


class Zabbix:
    """A server without the vendor's templates: the group ``test``, no hosts until `create` makes them."""

    def __init__(self, version: str = "6.0", *, memory: str = "128M") -> None:
        self.version = version
        self.memory = memory
        self.folder = Path()
        self.port = self.trapper = 0
        self.database = Postgres()
        self.token = ""
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The address of the web pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """Of a configured source with an API token."""
        return {"kind": "zabbix", "url": self.url, "token": f"env:{self._name('TOKEN')}"}

    @property
    def login(self) -> dict[str, Any]:
        """Of a configured source with user name and password."""
        password = f"env:{self._name('PASSWORD')}"
        return {"kind": "zabbix", "url": self.url, "username": "Admin", "password": password}

    @property
    def secrets(self) -> dict[str, str]:
        """What the options refer to."""
        return {self._name("TOKEN"): self.token, self._name("PASSWORD"): "zabbix"}

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self.database)
            self.folder = Path(tempfile.mkdtemp(prefix="zabbix-"))
            self._stack.callback(shutil.rmtree, self.folder)
            (self.folder / "run").mkdir()
            self._fill()
            self._serve()
            self._web()
            self._log_in()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def call(self, method: str, params: Any, *, auth: bool = True) -> Any:
        """One call of the API, as Admin."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        headers = {"Content-Type": "application/json-rpc"}
        if auth and self.version == "6.0":
            body["auth"] = self.token
        elif auth:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(f"{self.url}/api_jsonrpc.php", json.dumps(body).encode(), headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
            answer = json.load(response)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def create(self, host: str, items: Sequence[Item], **more: Any) -> dict[str, str]:
        """A host in the group ``test`` with its items; gives the items' ids by key."""
        interface = {"type": 1, "main": 1, "useip": 1, "ip": "192.0.2.1", "dns": "", "port": "10050"}
        given = {"host": host, "groups": [{"groupid": self._group()}], "interfaces": [interface], **more}
        (hostid,) = self.call("host.create", given)["hostids"]
        made = [
            {
                "hostid": hostid, "name": item.key, "key_": item.key, "type": 2, "value_type": item.value_type,
                "history": item.history, "tags": [{"tag": tag, "value": value} for tag, value in item.tags.items()],
                **({"delay": 0} if self.version == "6.0" else {}),
            }
            for item in items
        ]  # fmt: skip
        ids = self.call("item.create", made)["itemids"]
        return dict(zip((item.key for item in items), ids, strict=True))

    def send(self, values: Iterable[tuple[str, str, Any, int]]) -> None:
        """Store values (host, key, value, epoch seconds); waits until the server knows all the items."""
        left = list(values)
        for start in range(0, len(left), _PACKET):
            part = left[start : start + _PACKET]
            refused = poll(lambda part=part: self._sent(part) == len(part), timeout=30, interval=0.2)  # type: ignore[misc]
            if not refused:
                raise RuntimeError(f"the server does not take {part[0]} and the others with it")

    def load(self, dataset: Dataset) -> None:
        """Items ``requests[service,code]`` that count each interval, with tags; returns when all can be read."""
        for wanted in ("h1", "h2"):
            items = [
                Item(f"{METRIC}[{service},{code}]", tags={"service": service, "code": code})
                for service, code, host in dataset.series
                if host == wanted
            ]
            self.create(wanted, items)
        rows = [
            (host, f"{METRIC}[{service},{code}]", point.delta, point.time)
            for (service, code, host), points in dataset.series.items()
            for point in points
        ]
        self.send(sorted(rows, key=lambda row: row[3]))
        self.stored(3, len(rows))

    def stored(self, value_type: int, count: int) -> None:
        """Wait until so many values of a type can be read."""

        def all_there() -> bool:
            return int(self.call("history.get", {"history": value_type, "countOutput": True})) >= count

        if not poll(all_there, timeout=60, interval=0.2):
            raise RuntimeError(f"fewer than {count} values can be read")

    def sql(self, text: str) -> str:
        """Run statements in the database: what no API can write, as old trends."""
        command = [str(self.database.programs / "psql"), "-qXtA", "-1", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.database.port), "-U", "postgres", "-d", "zabbix"]
        done = subprocess.run(command, input=text, check=False, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr[-2000:]}")
        return done.stdout

    def _name(self, what: str) -> str:
        return f"SRETOOLKIT_TEST_ZABBIX_{self.version.replace('.', '_')}_{what}"

    def _group(self) -> str:
        known = self.call("hostgroup.get", {"filter": {"name": ["test"]}, "output": ["groupid"]})
        if known:
            return str(known[0]["groupid"])
        return str(self.call("hostgroup.create", {"name": "test"})["groupids"][0])

    def _sent(self, values: Sequence[tuple[str, str, Any, int]]) -> int:
        data = [{"host": h, "key": k, "value": str(v), "clock": at, "ns": 0} for h, k, v, at in values]
        body = json.dumps({"request": "sender data", "data": data}).encode()
        with socket.create_connection(("127.0.0.1", self.trapper), timeout=10) as connection:
            connection.sendall(b"ZBXD\x01" + struct.pack("<II", len(body), 0) + body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        told = re.search(r"processed: (\d+)", answer[13:].decode())
        return int(told[1]) if told else 0

    def _fill(self) -> None:
        share = self._place(_BACKEND, "usr/share/zabbix-server-pgsql")
        schema, data = (gzip.decompress((share / f"{name}.sql.gz").read_bytes()) for name in ("schema", "data"))
        keep = re.compile(rf"INSERT INTO ({_TABLES}) ")  # without 300 templates: 13 kB of 32 MB
        rows = [part for part in re.split(r"(?m)^(?=INSERT INTO )", data.decode()) if keep.match(part)]
        self.database_name("create database zabbix;")
        text = schema.decode() + "".join(rows).replace("COMMIT;", "")
        self.sql(text)

    def database_name(self, text: str) -> None:
        """Run one statement outside of the database itself."""
        command = [str(self.database.programs / "psql"), "-qX", "-h", "127.0.0.1", "-p", str(self.database.port)]
        subprocess.run([*command, "-U", "postgres", "-c", text], check=True, capture_output=True, timeout=60)

    def _place(self, package: str, path: str) -> Path:
        """Where this version's files are: Debian's own, or those unpacked beside."""
        place = Path("/") / path if self.version == "6.0" else CACHE / f"{package}-{self.version}" / path
        if not place.exists():
            raise RuntimeError(f"Zabbix {self.version} is missing ({place}); run tests/stack/install as root")
        return place

    def _serve(self) -> None:
        for attempt in range(_ATTEMPTS):
            self.trapper = _low_port()
            config = self.folder / "server.conf"
            config.write_text(
                _SERVER.format(port=self.trapper, database=self.database.port, folder=self.folder), encoding="utf-8"
            )
            command = [str(self._place(_BACKEND, "usr/sbin/zabbix_server")), "-f", "-c", str(config)]
            if os.geteuid() == 0:  # the server drops root by itself, to a user that then must own its folder
                subprocess.run(["chown", "-R", "zabbix:zabbix", str(self.folder)], check=True)
                command = ["setpriv", "--reuid=zabbix", "--regid=zabbix", "--clear-groups", *command]
            self.folder.chmod(0o755)
            server = Process(self.folder, "zabbix_server", command)
            ended, port = server.child.poll, self.trapper
            poll(lambda ended=ended, port=port: ended() is not None or _listens(port), timeout=30)  # type: ignore[misc]
            if server.child.poll() is None and _listens(self.trapper):
                self._stack.callback(server.stop)
                return
            server.stop()
            log = server.log.read_text(errors="replace")
            if "ddress already in use" not in log or attempt == _ATTEMPTS - 1:
                raise RuntimeError(f"zabbix_server {self.version} does not listen:\n{log[-4000:]}")

    def _web(self) -> None:
        if not SETTINGS.exists() or _OURS in SETTINGS.read_text():
            fresh = Path(tempfile.mkstemp(dir=SETTINGS.parent)[1])
            fresh.write_text(_PHP)
            fresh.chmod(0o644)
            fresh.replace(SETTINGS)
        php = program("php8.2", "php8.2-cli")
        for attempt in range(_ATTEMPTS):
            self.port = free_port()
            settings = {"opcache.enable_cli": "1", "variables_order": "EGPCS", "memory_limit": self.memory}
            settings |= {"max_execution_time": "300", "post_max_size": "16M", "display_errors": "0"}
            options = [part for key, value in settings.items() for part in ("-d", f"{key}={value}")]
            where = ["-S", f"127.0.0.1:{self.port}", "-t", str(self._place(_FRONTEND, "usr/share/zabbix"))]
            ports = [f"ZBX_DB_PORT={self.database.port}", f"ZBX_PORT={self.trapper}"]
            web = Process(self.folder, "web", ["env", *ports, php, *options, *where])
            try:
                web.wait_for(f"{self.url}/favicon.ico")
            except RuntimeError as error:
                if "already in use" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise
                continue
            self._stack.callback(web.stop)
            return

    def _log_in(self) -> None:
        login = {"username": "Admin", "password": "zabbix"}
        self.token = self.call("user.login", login, auth=False)
        (made,) = self.call("token.create", [{"name": "test", "userid": "1"}])["tokenids"]
        self.token = self.call("token.generate", [made])[0]["token"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _low_port() -> int:
    """A free port as the server takes it: below 32768, where the kernel's own choices begin."""
    for port in random.SystemRandom().sample(range(20_000, 32_768), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port below 32768")
