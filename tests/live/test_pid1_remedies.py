"""Cures of real containers in a real Docker Engine: the finding is there, the plan is run, it is gone, and comes back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError, PlanRefused, StepFailed
from sretoolkit.hosts import connect
from sretoolkit.pid1.look import Look, look
from sretoolkit.pid1.remedies import limit_ids, recreate, restart
from sretoolkit.plan import Plan
from sretoolkit.plan.recovery import reverse
from sretoolkit.plan.session import rejoin
from sretoolkit.store import open_store
from tests.stack.docker import Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]

_FILLS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if os.path.exists("/tmp/again"):
    time.sleep(600)
open("/tmp/again", "w").close()
while True:
    try:
        if not os.fork():
            time.sleep(600)
    except OSError:
        time.sleep(600)
"""
_QUICK = ("--stop-timeout", "1")


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    """One engine for all, asked as Docker's own client would."""
    with Docker() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", running.url)
        yield running


def _look() -> Look:
    with connect("localhost", Config()) as host:
        return look(host)


def _rules(name: str) -> set[str]:
    return {ruling.finding.rule for ruling in _look().about(name)}


def _apply(plan: Plan, config: Config, *, irreversible: bool = False) -> str:
    """The run's id."""
    with open_store(config) as store:
        outcome = plan.run(apply=True, config=config, store=store, irreversible=irreversible)
    assert outcome.ok, outcome
    return outcome.run


def _undo(run: str, config: Config) -> None:
    with open_store(config) as store:
        back = reverse(rejoin(store, run, config=config))
        assert back.run(apply=True, config=config, store=store).ok


def test_an_init_cures_a_dropped_signal(engine: Docker, config: Config, tmp_path: Path) -> None:
    """The copy keeps all but the init, volumes without a name included; undone, the old container is back as it was."""
    inside = (
        "-e",
        "TOKEN=keep-me",
        "-v",
        "/data",
        "-v",
        f"{tmp_path}:/shared",
        "--label",
        "team=shop",
        "-h",
        "box",
        *_QUICK,
    )
    name = engine.run("sh", "-c", "echo kept > /data/file; sleep 600; true", options=(*inside, "--restart", "always"))
    assert "stop-dropped" in _rules(name)
    plan = recreate("localhost", name, init=True)
    assert "HostConfig.Init: not set → True" in str(plan.steps[0].describe())
    assert "keep-me" not in json.dumps(plan.to_dict())
    before = json.loads(engine.call("inspect", name))[0]

    run = _apply(plan, config)

    assert not {"stop-dropped", "zombies-of-init", "reaping-latent"} & _rules(name)
    after = json.loads(engine.call("inspect", name))[0]
    assert "kept\n" == engine.call("exec", name, "cat", "/data/file")
    for key in ("Env", "Labels", "Hostname", "Cmd", "Image"):
        assert before["Config"][key] == after["Config"][key]
    assert before["HostConfig"]["RestartPolicy"] == after["HostConfig"]["RestartPolicy"]
    assert ["no\n", "false\n"] == [
        engine.call("inspect", "--format", form, f"{name}.previous")
        for form in ("{{.HostConfig.RestartPolicy.Name}}", "{{.State.Running}}")
    ]
    assert not recreate("localhost", name, init=True).steps

    _undo(run, config)

    restored = json.loads(engine.call("inspect", name))[0]
    assert (before["Id"], True) == (restored["Id"], restored["State"]["Running"])
    assert before["HostConfig"] == restored["HostConfig"]
    assert f"{name}.next" not in engine.call("ps", "-a", "--format", "{{.Names}}")
    assert "stop-dropped" in _rules(name)


def test_the_right_stop_signal_cures_one_that_is_dropped(engine: Docker, config: Config) -> None:
    """A program that handles another signal is stopped by that one."""
    script = "import signal,sys,time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0)); time.sleep(600)"
    name = engine.run("python3", "-c", script, options=_QUICK)
    assert poll(lambda: "stop-dropped" in _rules(name), timeout=20)

    _apply(recreate("localhost", name, stop_signal="usr1"), config)

    assert "stop-dropped" not in _rules(name)
    began = time.monotonic()
    engine.call("stop", "-t", "20", name)
    assert time.monotonic() - began < 15
    assert "0\n" == engine.call("inspect", "--format", "{{.State.ExitCode}}", name)


def test_a_limit_cures_a_container_without_one(engine: Docker, config: Config) -> None:
    """The container goes on; undone, there is no limit again."""
    name = engine.run("sleep", "600", options=("--init",))
    pid = engine.pid(name)
    assert "ids-unlimited" in _rules(name)

    run = _apply(limit_ids("localhost", name, 300), config)

    assert ("ids-unlimited" in _rules(name), pid) == (False, engine.pid(name))
    _undo(run, config)
    assert "ids-unlimited" in _rules(name)


def test_a_restart_makes_room(engine: Docker, config: Config) -> None:
    """Zombies up to the limit are gone after a restart, and the gate has looked; without the explicit yes nothing is done."""
    name = engine.run("python3", "-c", _FILLS, options=("--init", "--pids-limit", "40", *_QUICK))
    assert poll(lambda: "forks-failed" in _rules(name), timeout=30)
    plan = restart("localhost", name)
    with pytest.raises(PlanRefused, match="cannot be taken back"):
        _apply(plan, config)

    _apply(plan, config, irreversible=True)

    assert "ids-low" not in _rules(name)


def test_networks_stay_as_they_were(engine: Docker, config: Config) -> None:
    """Two networks, an address that was asked for, a name in one of them and a published port are the copy's, too."""
    for name, subnet in (("front", "10.99.1.0/24"), ("back", "10.99.2.0/24")):
        engine.call("network", "create", "--subnet", subnet, name)
    asked = ("--ip", "10.99.1.77", "--network-alias", "shop", "-p", "127.0.0.1:8088:80")
    name = engine.run("sleep", "600", options=(*asked, *_QUICK), network="front")
    engine.call("network", "connect", "--alias", "db", "back", name)

    _apply(recreate("localhost", name, init=True), config)

    found = json.loads(engine.call("inspect", name))[0]["NetworkSettings"]
    assert {"front", "back"} == found["Networks"].keys()
    assert "10.99.1.77" == found["Networks"]["front"]["IPAddress"]
    assert ["shop", "db"] == [found["Networks"][network]["Aliases"][0] for network in ("front", "back")]
    assert "8088" == found["Ports"]["80/tcp"][0]["HostPort"]


def test_a_copy_that_does_not_start_is_taken_back(engine: Docker, config: Config) -> None:
    """A program that will not be anything but PID 1: the old container runs again under its name, and no copy is left."""
    name = engine.run("sh", "-c", "[ $$ = 1 ] || exit 7; sleep 600; true", options=_QUICK)
    before = engine.call("inspect", "--format", "{{.Id}} {{.State.Running}}", name)

    with pytest.raises(StepFailed, match="exit code 7"):
        _apply(recreate("localhost", name, init=True), config)

    assert before == engine.call("inspect", "--format", "{{.Id}} {{.State.Running}}", name)
    assert f"{name}.next" not in engine.call("ps", "-a", "--format", "{{.Names}}")


@pytest.mark.parametrize(
    ("options", "says"), [(("--rm",), "--rm"), (("--label", "com.docker.swarm.task=x"), "orchestrator")]
)
def test_what_a_copy_cannot_replace_is_refused(engine: Docker, options: tuple[str, ...], says: str) -> None:
    """Nothing is done, and the error says what to do instead."""
    name = engine.run("sleep", "600", options=options)
    with pytest.raises(PlanError, match=says) as caught:
        recreate("localhost", name, init=True)
    assert caught.value.hint


def test_an_unknown_container_is_an_error(engine: Docker) -> None:
    """The error names the host and the container."""
    with pytest.raises(HostError, match="localhost has no container 'nobody'"):
        recreate("localhost", "nobody", init=True)
