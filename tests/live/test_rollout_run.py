"""The canary runbook as a command: hosts over SSH behind a real HAProxy, judged by a real Prometheus that scrapes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.metrics import connect
from tests.rollout.desk import Desk
from tests.stack.haproxy import Haproxy, Witness
from tests.stack.process import free_port
from tests.stack.prometheus import Prometheus
from tests.stack.sshd import Sshd

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
_START = """
if test -f "$1/pid" && kill "$(cat "$1/pid")" 2>/dev/null; then timeout 10 tail --pid="$(cat "$1/pid")" -f /dev/null; fi
cd "$1/current" && nohup {python} -m sretoolkit.rollout.local.shop "$(cat version)" "$(cat ../../port)" >/dev/null 2>&1 &
echo $! > "$1/pid"
"""
_HEALTH = """
import urllib.request
port = open("{folder}/port").read()
urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(f"http://127.0.0.1:{{port}}/health", timeout=3)
"""


class Machines:
    """Two: ``web1`` serves version 1.0, ``web2`` nothing yet. What one has in its folder the other does not see."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "shop"
        self.homes = {"web1": self.folder, "web2": place / "shop-of-web2"}
        self.ports = {name: free_port() for name in self.homes}
        self.start = place / "start"
        self.start.write_text(_START.format(python=sys.executable))
        for name, home in self.homes.items():
            for version in ("1.0", "2.0", "2.1"):
                (home / "releases" / version).mkdir(parents=True)
                (home / "releases" / version / "version").write_text(version)
            (home / "port").write_text(str(self.ports[name]))
        (self.folder / "current").symlink_to("releases/1.0")
        subprocess.run(["sh", str(self.start), str(self.folder)], check=True, timeout=20)

    @property
    def workload(self) -> dict[str, Any]:
        """As a rollout names them."""
        return {
            "kind": "hosts",
            "hosts": ["web1"],
            "candidates": ["web2"],
            "folder": str(self.folder),
            "restart": ["sh", str(self.start), str(self.folder)],
            "stop": ["sh", "-c", f"kill $(cat {self.folder}/pid)"],
            "health": [sys.executable, "-c", _HEALTH.format(folder=self.folder)],
            "ready_within": "30s",
        }

    def versions(self) -> dict[str, str]:
        """What each machine's link leads to."""
        links = {name: home / "current" for name, home in self.homes.items()}
        return {name: link.readlink().name for name, link in links.items() if link.is_symlink()}

    def end(self) -> None:
        """End the services."""
        for home in self.homes.values():
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int((home / "pid").read_text()), signal.SIGTERM)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Of each test's own."""
    if os.getuid() != 0:
        pytest.skip("a second machine's folder needs root: it is mounted for those who log in there")
    made = Machines(tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def proxy(machines: Machines) -> Iterator[Haproxy]:
    """Before both machines, under load."""
    with Haproxy(servers={"old-1": machines.ports["web1"], "canary-1": machines.ports["web2"]}) as started:
        yield started


@pytest.fixture
def metrics(proxy: Haproxy) -> Iterator[Prometheus]:
    """A Prometheus that has seen some of it."""
    target = {"job_name": "haproxy", "static_configs": [{"targets": [f"127.0.0.1:{proxy.told}"]}]}
    with Prometheus(scrapes=[target]) as started, connect(started.source) as source:
        asked = 'sum(rate(haproxy_server_http_responses_total{server="old-1"}[10s])) or vector(0)'
        assert poll(lambda: source.instant(asked).values[0, 0] > 100, timeout=60)
        yield started


@pytest.fixture
def desk(machines: Machines, proxy: Haproxy, metrics: Prometheus, tmp_path: Path) -> Iterator[Desk]:
    """With the machines, the proxy, and that Prometheus."""
    there = {machines.folder: machines.homes["web2"]}
    with Sshd(tmp_path / "web1") as web1, Sshd(tmp_path / "web2", mounts=there) as web2:
        hosts = {"web1": web1.options(), "web2": web2.options()}
        yield Desk(tmp_path / "engineer", configuration(machines, proxy, metrics, hosts))


def configuration(machines: Machines, proxy: Haproxy, metrics: Prometheus, hosts: dict[str, Any]) -> dict[str, Any]:
    """A canary of one step of half of the requests, judged by HAProxy's own counters."""
    counter = "haproxy_server_http_responses_total"
    measure = {
        "name": "errors", "source": "prod", "by": "server", "candidate": "canary-.*", "interval": "2s", "history": "1m",
        "bad": counter + '{proxy="shop",code="5xx"}', "total": counter + '{proxy="shop"}', "worth": 5.0,
    }  # fmt: skip
    router = {"kind": "haproxy", "socket": str(proxy.socket), "backend": "shop", "candidate": "canary-.*"}
    return {
        "hosts": hosts,
        "sources": {"prod": metrics.options},
        "rollouts": {
            "shop": {
                "workload": machines.workload,
                "router": {**router, "config": str(proxy.config)},
                "strategy": {"kind": "canary", "steps": [50], "bake": "40s"},
                "measures": [measure],
                "look": "1s",
                "patience": "10s",
            }
        },
    }


def agrees(desk: Desk, witness: Witness) -> None:
    """HAProxy had every weight that the journal has, in that order and within its time, and no other."""
    written = [each for each in desk.written() if each.kind == "SetWeight"]
    seen = [(at, round(100 * each["canary-1"] / sum(each.values()))) for at, each in witness.settled()[1:]]

    assert [each.value for each in written] == [share for _, share in seen]
    for each, (at, _) in zip(written, seen, strict=True):
        assert each.start <= at <= each.end + 0.1


@pytest.mark.parametrize(("version", "code", "ends"), [("2.0", 0, "2.0"), ("2.1", 3, "1.0")])
def test_a_canary_is_judged(desk: Desk, machines: Machines, proxy: Haproxy, version: str, code: int, ends: str) -> None:
    """The good one serves, the bad one is taken back; no request is lost; HAProxy had the weights that the journal has."""
    with Witness(proxy) as witness:
        ended, said = desk.roll_out(version)

    assert code == ended, said
    assert {"web1": ends} == machines.versions()
    assert {"old-1": 100, "canary-1": 0} == proxy.weights()
    assert 0 == proxy.served.get("lost", 0)
    agrees(desk, witness)


def test_a_killed_runner_is_taken_back(desk: Desk, machines: Machines, proxy: Haproxy) -> None:
    """By the watchdog: nobody does anything, and all requests go to the old version."""
    with Witness(proxy) as witness:
        desk.killed_at(50, "2.0")
        desk.taken_back(lambda: proxy.weights()["canary-1"] == 0 and "web2" not in machines.versions())

    assert {"web1": "1.0"} == machines.versions()
    assert 0 == proxy.served.get("lost", 0)
    agrees(desk, witness)


def test_metrics_that_stay_away_take_it_back(
    desk: Desk, machines: Machines, proxy: Haproxy, metrics: Prometheus
) -> None:
    """Prometheus ends with half of the requests on a good candidate: waited for as long as was said, never passed."""
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.0", "--apply")
    assert poll(lambda: desk.gave(50), timeout=90)
    metrics.stop()
    said, _ = runner.communicate(timeout=120)
    failed = next(entry for entry in desk.entries() if entry.kind == "gate-failed")

    assert 3 == runner.returncode, said
    assert "prod does not answer" in str(failed.content)
    assert {"web1": "1.0"} == machines.versions()
    assert {"old-1": 100, "canary-1": 0} == proxy.weights()
    assert 0 == proxy.served.get("lost", 0)


def test_metrics_that_come_back_let_it_on(desk: Desk, machines: Machines, proxy: Haproxy, metrics: Prometheus) -> None:
    """Away for some seconds in the middle of the judge's looks: it looks again, and promotes what is good."""
    runner = desk.start("run", "canary_rollout", "-p", "name=shop", "-p", "version=2.0", "--apply")
    assert poll(lambda: desk.gave(50), timeout=90)
    metrics.stop()
    assert poll(lambda: "does not answer" in str([entry.content for entry in desk.entries()]), timeout=60)
    metrics.start()
    said, _ = runner.communicate(timeout=180)

    assert 0 == runner.returncode, said
    assert {"web1": "2.0"} == machines.versions()
    assert 0 == proxy.served.get("lost", 0)
