"""A machine with misbehaving containers: the report names each by its own name, with the right rule and remedy."""

from __future__ import annotations

import os

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.hosts import connect
from sretoolkit.pid1 import Look, health, look
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
