"""The real server, asked over real HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Keys, find_runs, verify_store
from sretoolkit.provision.registry import Registry
from sretoolkit.store import Store
from tests.conftest import REPOSITORY


@dataclass
class Server:
    """A server process with a store and folder of its own."""

    process: subprocess.Popen[bytes]
    port: int
    config: Config
    folder: Path

    def ask(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """One request over a connection of its own."""
        with urllib3.PoolManager() as pool:
            return pool.request(method, f"http://127.0.0.1:{self.port}{path}", retries=False, timeout=20, **options)

    def check_in(self, number: int) -> urllib3.BaseHTTPResponse:
        """A machine's first word."""
        hw = {"uuid": f"7a5a11c0-0000-4000-8000-{number:012d}", "serial": f"SN{number}"}
        return self.ask("POST", "/svc/checkin", body=json.dumps({"hw": hw, "facts": {"cpus": 8}}))


def start(home: Path, config: Config, **environment: str) -> Server:
    """Start one on a free port, and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = home / "provision"
    given = {
        **os.environ, "PYTHONPATH": str(REPOSITORY), "SRETOOLKIT_STORE_URL": config["store.url"],
        "SRETOOLKIT_JOURNAL_KEYS": config["journal.keys"], "SRETOOLKIT_PROVISION_FOLDER": str(folder), **environment,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "sretoolkit", "serve", "--cold", "--port", str(port)],
        cwd=home,
        env=given,
        start_new_session=True,
    )
    server = Server(process, port, config, folder)

    def answers() -> bool:
        assert process.poll() is None, "the server ended"
        try:
            return server.ask("GET", "/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    assert poll(answers, timeout=60)
    return server


def stop(server: Server, how: int = signal.SIGTERM) -> int:
    """End it, by its pid; gives its exit code."""
    server.process.send_signal(how)
    code = server.process.wait(30)
    if how == signal.SIGKILL:
        os.killpg(server.process.pid, signal.SIGKILL)
    return code


@pytest.fixture
def server(own_home: Path, config: Config) -> Iterator[Server]:
    """A running server."""
    started = start(own_home, config)
    yield started
    if started.process.poll() is None:
        assert 0 == stop(started)


def test_a_machine_checks_in_over_http(server: Server) -> None:
    """The token that it is given is good for its next word, and nothing else is."""
    answer = server.check_in(1)
    told = dict(line.split("=", 1) for line in answer.data.decode().splitlines())
    polls = [
        server.ask("POST", "/svc/poll", headers={"Authorization": f"Bearer {t}"}).status
        for t in (told["token"], "x" * 43)
    ]
    assert (200, "wait", [200, 401], "no-store") == (
        answer.status,
        told["action"],
        polls,
        answer.headers["cache-control"],
    )


def test_many_machines_at_once_are_all_written_down(server: Server) -> None:
    """Two hundred check-ins from sixteen threads: every one is answered, and every node is in the store, once."""
    with ThreadPoolExecutor(16) as pool:
        statuses = [answer.status for answer in pool.map(server.check_in, range(1, 201))]
    with Store(server.config["store.url"]) as store:
        assert ({200}, 200) == (set(statuses), len(Registry(store).nodes()))


def test_files_go_out_whole_and_in_parts(server: Server) -> None:
    """Kernels and images, by range as loaders ask for them; nothing outside the folder."""
    data = os.urandom(3_000_000)
    (server.folder / "repos" / "tiny").mkdir(parents=True)
    (server.folder / "repos" / "tiny" / "disk.img").write_bytes(data)
    whole = server.ask("GET", "/svc/file/tiny/disk.img")
    part = server.ask("GET", "/svc/file/tiny/disk.img", headers={"Range": "bytes=1000000-1999999"})
    tail = server.ask("GET", "/svc/file/tiny/disk.img", headers={"Range": "bytes=-10"})
    past = server.ask("GET", "/svc/file/tiny/disk.img", headers={"Range": "bytes=9000000-"})
    head = server.ask("HEAD", "/svc/file/tiny/disk.img")
    digest = hashlib.sha256(whole.data).hexdigest()
    assert (hashlib.sha256(data).hexdigest(), "3000000") == (digest, whole.headers["content-length"])
    assert (206, data[1000000:2000000], "bytes 1000000-1999999/3000000") == (
        part.status,
        part.data,
        part.headers["content-range"],
    )
    assert (206, data[-10:], 416, 200, "3000000") == (
        tail.status,
        tail.data,
        past.status,
        head.status,
        head.headers["content-length"],
    )
    assert [404, 404] == [
        server.ask("GET", path).status for path in ("/svc/file/tiny/../../store.db", "/svc/file/%2e%2e/store.db")
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/svc/checkin", b"x" * 300_000, 413),
        ("POST", "/svc/checkin", b"{", 400),
        ("GET", "/svc/checkin", b"", 405),
        ("GET", "/svc/nothing", b"", 404),
        ("GET", "/nothing", b"", 303),
        ("GET", "/svc/boot?mac=%00&uuid=<script>", b"", 200),
        ("POST", "/svc/stage?order=o1&name=done", b"{}", 401),
        ("POST", "/svc/installed", b"{}", 401),
    ],
)
def test_bad_requests_are_answered(server: Server, method: str, path: str, body: bytes, status: int) -> None:
    """Never a 500, never a hang."""
    assert status == server.ask(method, path, body=body).status


def test_a_client_that_says_nothing_holds_nobody_up(server: Server) -> None:
    """Fifty connections that never finish their request, and a machine is answered all the same."""
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    for connection in idle:
        connection.sendall(b"POST /svc/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert 200 == server.check_in(1).status
    for connection in idle:
        connection.close()


def test_a_server_that_is_killed_forgets_nothing(own_home: Path, config: Config) -> None:
    """Issue fault "server restarted mid-install": the token is good at the next server, which goes on with the same record."""
    first = start(own_home, config)
    with Store(config["store.url"]) as store:
        assert poll(lambda: find_runs(store), timeout=20)
    told = dict(line.split("=", 1) for line in first.check_in(1).data.decode().splitlines())
    stop(first, signal.SIGKILL)
    second = start(own_home, config)
    status = second.ask("POST", "/svc/poll", headers={"Authorization": f"Bearer {told['token']}"}).status
    with Store(config["store.url"]) as store:
        assert poll(lambda: [run.state for run in find_runs(store)] == ["running"], timeout=20)
        stop(second)
        runs = [(run.runbook, run.state) for run in find_runs(store)]
        proofs = {proof.state for proof in verify_store(store, Keys.of(config))}
    assert (200, [("provisioning server", "completed")], {"whole"}) == (status, runs, proofs)


def test_bandwidth_is_shared_and_kept(own_home: Path, config: Config) -> None:
    """Issue "Admission control": with 10 MB/s, four downloads of 2.5 MB take no less than the time that 10 MB need."""
    import time

    server = start(own_home, config, SRETOOLKIT_PROVISION_BANDWIDTH="10")
    (server.folder / "repos" / "tiny").mkdir(parents=True)
    (server.folder / "repos" / "tiny" / "disk.img").write_bytes(bytes(2_500_000))
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        sizes = [
            len(answer.data) for answer in pool.map(lambda _: server.ask("GET", "/svc/file/tiny/disk.img"), range(4))
        ]
    took = time.monotonic() - began
    stop(server)
    assert ([2_500_000] * 4, True) == (sizes, took > 0.8)
