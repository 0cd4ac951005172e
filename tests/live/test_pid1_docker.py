"""A machine with misbehaving containers: the report names each by its own name, with the right rule and remedy."""

from __future__ import annotations

import os
import shlex

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.hosts.connection import Connection
from sretoolkit.hosts.result import Output
from sretoolkit.pid1 import Look, health, look
from sretoolkit.pid1.look import workloads
from tests.stack.docker import Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]

_ZOMBIES = "import os, time\nfor _ in range(12):\n    if not os.fork(): os._exit(0)\ntime.sleep(600)"
_FULL = """
import os, time
while True:
    try:
        if not os.fork():
            time.sleep(600)
    except OSError:
        time.sleep(600)
"""
_TERM = "import signal, sys, time; signal.signal(signal.SIGTERM, {}); time.sleep(600)"
_HANDLER = "lambda *_: sys.exit(0)"
CASES = {
    "deaf": ((), ("sh", "-c", "sleep 600; true"), "stop-dropped", "start the program with exec"),
    "alone": ((), ("sleep", "600"), "stop-dropped", "docker run --init"),
    "ignores": ((), ("python3", "-c", _TERM.format("signal.SIG_IGN")), "stop-ignored", "let python3"),
    "untold": (("--init",), ("sh", "-c", "sleep 600; true"), "stop-not-passed-on", "start the program with exec"),
    "leaky": ((), ("python3", "-c", _ZOMBIES), "zombies-of-init", "docker run --init"),
    "leaky-app": (("--init",), ("python3", "-c", _ZOMBIES), "zombies-of-app", "an init will not help"),
    "probed": (
        ("--health-cmd", "true", "--health-interval", "1h"),
        ("python3", "-c", _TERM.format(_HANDLER)),
        "reaping-latent",
        "docker run --init",
    ),
    "full": (
        ("--init", "--pids-limit", "30"),
        ("python3", "-c", _FULL),
        "forks-failed",
        "docker update --pids-limit N full",
    ),
    "free": (("--init",), ("sleep", "600"), "ids-unlimited", "docker update --pids-limit 512 free"),
    "quit": (
        ("--stop-signal", "SIGQUIT"),
        ("python3", "-c", _TERM.format(_HANDLER)),
        "stop-dropped",
        "docker run --init",
    ),
}


def _look() -> Look:
    with connect("localhost", Config()) as host:
        return look(host)


def _told(found: Look, name: str) -> dict[str, str]:
    return {ruling.finding.rule: ruling.finding.remedy for ruling in found.about(name)}


def _missing(found: Look) -> list[str]:
    return [name for name, (_, _, rule, _) in CASES.items() if rule not in _told(found, name)]


def test_each_is_named_with_its_rule_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten faults, ten containers; one that goes away meanwhile, and an engine that is gone, spoil nothing."""
    with Docker() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        for name, (options, command, _, _) in CASES.items():
            engine.run(*command, options=options, name=name)
        assert poll(lambda: not _missing(_look()), timeout=60), _missing(_look())
        found = _look()
        for name, (_, _, rule, remedy) in CASES.items():
            assert remedy in _told(found, name)[rule], name
        assert "medium" == next(
            each.finding.severity for each in found.about("probed") if each.finding.rule == "reaping-latent"
        )
        text = str(health("localhost"))
        assert [] == [name for name in CASES if name not in text]
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        blind = health("localhost")
    assert any("docker does not answer" in finding.summary for finding in blind.findings)
    assert blind.tables[0].rows


class _Nobody(Connection):
    """Runs every command as a user who may ask no engine."""

    def __init__(self, inner: Connection) -> None:
        self.inner = inner

    def execute(self, command: str, *, timeout: float, data: bytes) -> Output:
        """As that user."""
        line = f"exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -c {shlex.quote(command)}"
        return self.inner.execute(line, timeout=timeout, data=data)

    def by_hand(self, command: str) -> str:
        """As the connection says it."""
        return self.inner.by_hand(command)

    def close(self) -> None:
        """As the connection does it."""
        self.inner.close()


def test_an_engine_that_refuses_us_is_said_and_the_rest_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket without permission, and an engine older than the client: a finding with its reason, beside all namespaces."""
    with Docker() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.url)
        name = engine.run("sleep", "600")
        pid = engine.pid(name)
        monkeypatch.setenv("DOCKER_API_VERSION", "1.99")
        skewed = _look()
        monkeypatch.delenv("DOCKER_API_VERSION")
        with connect("localhost", Config()) as host:
            host.connection = _Nobody(host.connection)
            found, troubles = workloads(host)
    assert pid in [subject.init.process.pid for subject in skewed.subjects]
    (trouble,) = skewed.troubles
    assert ("too new" in trouble.summary, trouble.rule) == (True, "blind"), trouble
    said = [trouble.summary for trouble in troubles if trouble.summary.startswith("docker")]
    assert [] == [each for each in found if each.runtime == "docker"]
    assert ["docker does not answer"] == [each.partition(":")[0] for each in said]
    assert "denied" in said[0]
