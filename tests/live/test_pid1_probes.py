"""What is tried out on containers: the reap probe, the stop rehearsal, and the stops that Docker itself remembers."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import PlanError, SREToolkitError
from sretoolkit.hosts import connect
from sretoolkit.pid1.ledger import ledger
from sretoolkit.pid1.look import look
from sretoolkit.pid1.probe import probe_reaping, reaping
from sretoolkit.pid1.rehearsal import rehearse_stop, rehearsed
from sretoolkit.plan import Plan
from sretoolkit.plan.plan import Outcome
from sretoolkit.store import open_store
from tests.stack.docker import IMAGE, Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]
SHORT = ("--stop-timeout", "2")
SETTLE = timedelta(seconds=1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    """One engine for all, asked as Docker's own client would."""
    with Docker() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", running.url)
        yield running


def _apply(plan: Plan, config: Config) -> Outcome:
    with open_store(config) as store:
        return plan.run(apply=True, config=config, store=store, irreversible=True)


@pytest.mark.parametrize(
    ("options", "command", "summary"),
    [((), ("sleep", "600"), "stays as a zombie"), (("--init",), ("sleep", "600"), "was reaped within")],
)
def test_an_orphan_is_reaped_or_stays(
    engine: Docker, config: Config, options: tuple[str, ...], command: tuple[str, ...], summary: str
) -> None:
    """A program alone leaves it, an init takes care of it; a second probe of the first is not needed any more."""
    name = engine.run(*command, options=options)
    report = reaping(_apply(probe_reaping("localhost", name), config))
    assert summary in report.findings[0].summary
    assert poll(lambda: bool(probe_reaping("localhost", name).steps) is bool(options), timeout=20)


def test_a_probe_of_nobody_is_an_error(engine: Docker) -> None:
    """The error names the container."""
    with pytest.raises(SREToolkitError, match="no container 'nobody'"):
        probe_reaping("localhost", "nobody")


@pytest.mark.parametrize(
    ("script", "summary", "worst"),
    [
        (
            "import signal, time; signal.signal(15, lambda *_: None)\nwhile True: time.sleep(1)",
            "was killed after 2 s",
            "high",
        ),
        ("import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3)); time.sleep(600)", "exit code 3", "info"),
    ],
)
def test_a_rehearsal_tells_what_masks_cannot(
    engine: Docker, config: Config, script: str, summary: str, worst: str
) -> None:
    """A handler that does nothing and one that ends look alike from outside; the clone shows it, and is gone afterwards."""
    name = engine.run("python3", "-c", script, options=SHORT)
    pid = engine.pid(name)
    report = rehearsed(_apply(rehearse_stop("localhost", name, settle=SETTLE), config))
    assert (worst, True) == (report.worst, summary in report.findings[0].summary)
    assert pid == engine.pid(name)
    assert "rehearsal" not in engine.call("ps", "-a", "--format", "{{.Names}}")


_HEARS = "import signal, sys, time; signal.signal(15, lambda *_: (time.sleep(0.5), sys.exit(0))); time.sleep(600)"


@pytest.mark.parametrize(
    ("command", "worst", "summary"),
    [
        (("bash", "-c", "trap 'exit 0' TERM; python3 -c \"$APP\" & wait"), "high", "python3 behind it was killed"),
        (("tini", "-g", "--", "sh", "-c", 'python3 -c "$APP"; true'), "high", "python3 behind it was killed"),
        (("bash", "-c", "trap 'kill $!; wait; exit 0' TERM; python3 -c \"$APP\" & wait"), "info", "exit code 0"),
        (("tini", "--", "python3", "-c", _HEARS), "info", "exit code 0"),
    ],
)
def test_a_rehearsal_sees_who_was_killed_behind_a_clean_exit(
    engine: Docker, config: Config, command: tuple[str, ...], worst: str, summary: str
) -> None:
    """The kernel tells how every process of the clone ended: one that takes the signal and was killed is named."""
    name = engine.run(*command, options=(*SHORT, "-e", f"APP={_HEARS}"))
    report = rehearsed(_apply(rehearse_stop("localhost", name, settle=SETTLE), config))
    found = report.findings[0].summary.replace(f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3")
    assert (worst, True) == (report.worst, summary in found), found


def test_a_clone_that_cannot_be_watched_is_only_stopped(
    engine: Docker, config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without python3 on the host nobody can watch the processes: the exit is told, and that the rest is unknown."""
    name = engine.run("tini", "--", "python3", "-c", _HEARS, options=SHORT)
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    report = rehearsed(_apply(rehearse_stop("localhost", name, settle=SETTLE), config))
    assert "could not be watched" in report.findings[0].summary


def test_a_clone_can_reach_nothing(engine: Docker, config: Config, tmp_path: Path) -> None:
    """It cannot write where the container can, has no network, and a socket that is mounted is not in it."""
    shared, gate = tmp_path / "shared", tmp_path / "gate"
    shared.mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(gate))
    script = "date +%N > /shared/$(date +%N); [ -S /gate ] && touch /shared/gate; trap 'exit 0' TERM; sleep 600 & wait"
    name = engine.run("bash", "-c", script, options=(*SHORT, "-v", f"{shared}:/shared", "-v", f"{gate}:/gate"))
    assert poll(lambda: (shared / "gate").exists(), timeout=20)
    before = sorted(shared.iterdir())
    plan = rehearse_stop("localhost", name, settle=SETTLE)
    assert str(gate) in plan.steps[0].describe()
    assert _apply(plan, config).ok
    assert before == sorted(shared.iterdir())
    server.close()


def test_a_clone_that_does_not_start_says_so(engine: Docker, config: Config, tmp_path: Path) -> None:
    """A program that must write to its volume cannot be rehearsed: that is said, and nothing is left behind."""
    name = engine.run(
        "sh", "-c", "touch /data/x || exit 9; sleep 600; true", options=("-v", f"{tmp_path}:/data", *SHORT)
    )
    assert poll((tmp_path / "x").exists, timeout=20)
    with pytest.raises(SREToolkitError, match="exit code 9"):
        _apply(rehearse_stop("localhost", name, settle=SETTLE), config)
    assert "rehearsal" not in engine.call("ps", "-a", "--format", "{{.Names}}")


def test_a_privileged_container_is_not_cloned(engine: Docker) -> None:
    """Its clone could reach the machine."""
    engine.call("create", "--name", "mighty", "--privileged", IMAGE, "sleep", "600")
    with pytest.raises(PlanError, match="privileged"):
        rehearse_stop("localhost", "mighty")


def test_stops_that_happened_are_in_the_ledger(engine: Docker) -> None:
    """One that had to be killed and one that ended by itself are told apart, from Docker's events alone."""
    deaf, polite = engine.run("sleep", "600"), engine.run("sleep", "600", options=("--init",))
    engine.call("stop", "-t", "1", deaf, polite)
    report = ledger("localhost", since=timedelta(minutes=10))
    finding = next(finding for finding in report.findings if deaf in finding.evidence)
    assert ("high", "observed", "stop-observed") == (finding.severity, finding.proof, finding.rule)
    assert polite not in finding.evidence
    assert report.facts["stops"] >= 2


def test_the_container_is_found_by_name_and_by_id(engine: Docker) -> None:
    """Both are what people type."""
    name = engine.run("sleep", "600")
    identifier = engine.call("inspect", "--format", "{{.Id}}", name)[:12]
    with connect("localhost", Config()) as host:
        found = look(host)
    assert found.named(name) == found.named(identifier)
