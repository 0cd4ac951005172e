"""Faults of a canary behind a real HAProxy: its runner killed after every write, reloads, HAProxy gone on the way back."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import UndoFailed
from sretoolkit.journal import Journal, Keys, find_runs, load_run, verify_run
from sretoolkit.plan.recovery import recover
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.store import Store, open_store
from tests.conftest import REPOSITORY
from tests.rollout.memory import World
from tests.stack.haproxy import Haproxy

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]
PROGRAM = """
import json, os, signal, sys
from sretoolkit.config import Config
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.routers.haproxy import Haproxy
import tests.rollout.memory
store, keys, told, last = sys.argv[1:]
write, ask, left = Haproxy._write, Haproxy._ask, [int(last)]
def counted():
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
def written(self, ctx, text):
    write(self, ctx, text)
    counted()
def asked(self, ctx, command):
    answer = ask(self, ctx, command)
    if command.startswith("set server"):
        counted()
    return answer
config = Config.of(store={"url": store}, journal={"keys": keys})
plan = Rollout.of("shop", json.loads(told)).plan("2", config=config)
Haproxy._write, Haproxy._ask = written, asked
plan.run(apply=True, config=config)
print(int(last) - left[0])
"""
WRITES = 8  # of the file and of what is in effect, for each of 5 %, half, all, none


def places() -> list[int]:
    """After which write it is killed; CI takes a sample."""
    every = list(range(1, WRITES + 1))
    if os.environ.get("EVERY_FAULT"):
        return every
    return sorted(random.Random(int(os.environ["FAULT_SEED"])).sample(every, 2))


@pytest.fixture
def proxy() -> Iterator[Haproxy]:
    """One of its own for each test."""
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is missing; install it: apt-get install haproxy")
    with Haproxy() as started:
        assert poll(lambda: started.served.get("200", 0) > 50, timeout=20)
        yield started


def service(proxy: Haproxy, world: World, bake: str = "0.2s") -> dict[str, object]:
    """A canary whose requests this HAProxy shares out."""
    router = {
        "kind": "haproxy", "socket": str(proxy.socket), "backend": "shop", "candidate": "canary-.*",
        "config": str(proxy.config),
    }  # fmt: skip
    strategy = {"kind": "canary", "steps": [5, 50], "bake": bake}
    return {"workload": {"kind": "memory", "path": str(world.path)}, "router": router, "strategy": strategy}


def share(proxy: Haproxy) -> int:
    """What the candidate's server gets, asked of HAProxy itself."""
    weights = proxy.weights()
    return round(100 * weights["canary-1"] / sum(weights.values()))


@pytest.mark.parametrize("resume", [False, True], ids=["undone", "resumed"])
@pytest.mark.parametrize("last", places())
def test_killed_after_a_write(
    proxy: Haproxy, tmp_path: Path, config: Config, store: Store, keys: Keys, last: int, resume: bool
) -> None:
    """File and process agree in the end, nobody has lost a request, and the journal is whole."""
    world = World(tmp_path / "world.json")
    arguments = [config["store.url"], config["journal.keys"], json.dumps(service(proxy, world)), str(last)]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert -9 == done.returncode, done.stderr
    lost = find_runs(store)[0].id

    recover(store, lost, config=config, resume=resume)

    assert 0 == share(proxy)
    assert "2" * resume + "1" * (not resume) == world.read()["tracks"]["stable"]["version"]
    assert ("completed" if resume else "undone") == load_run(store, lost).state
    assert "whole" == verify_run(store, keys, lost).state
    assert 0 == proxy.served.get("lost", 0)
    proxy.reload()
    assert 0 == share(proxy)


def test_somebody_reloads_it_in_the_middle(proxy: Haproxy, tmp_path: Path, config: Config, store: Store) -> None:
    """At each share: the weights stay, the counters begin anew, and the canary goes on."""
    world = World(tmp_path / "world.json")
    plan = Rollout.of("shop", service(proxy, world, bake="3s")).plan("2", config=config)
    seen: list[int] = []
    connections: list[int] = []

    def reload_at_each() -> None:
        for wanted in (5, 50):
            assert poll(lambda wanted=wanted: share(proxy) == wanted, timeout=60)  # type: ignore[misc]
            told = dict(line.split(": ", 1) for line in proxy.say("show info").splitlines() if ": " in line)
            connections.append(int(told["CurrConns"]))
            proxy.reload()
            seen.append(share(proxy))

    thread = threading.Thread(target=reload_at_each)
    thread.start()
    outcome = plan.run(apply=True, config=config, store=store)
    thread.join()

    assert ("completed", [5, 50]) == (outcome.state, seen)
    assert 0 == share(proxy)
    assert proxy.served.get("lost", 0) <= sum(connections)  # one that is just being sent on each; that is HAProxy's own


def test_the_way_back_fails(proxy: Haproxy, tmp_path: Path, config: Config, store: Store) -> None:
    """HAProxy has gone when the candidate turns bad: the run is held, says so, and leaves the exact commands."""
    world = World(tmp_path / "world.json")
    plan = Rollout.of("shop", service(proxy, world, bake="60s")).plan("2", config=config)
    raised: list[UndoFailed] = []

    def carried_out() -> None:
        with open_store(config) as opened:
            try:
                plan.run(apply=True, config=config, store=opened)
            except UndoFailed as error:
                raised.append(error)

    thread = threading.Thread(target=carried_out)
    thread.start()
    assert poll(lambda: share(proxy) == 5, timeout=60)
    assert poll(lambda: baking(store), timeout=60)
    proxy.stop()
    world.change(trouble={"candidate": "it answers with errors"})
    thread.join(150)

    (failed,) = raised
    assert "held" == load_run(store, find_runs(store)[0].id).state
    commands = failed.by_hand
    assert f"set server shop/NAME weight 0' | socat - {proxy.socket}" in commands[0]
    assert commands[-1] == "set candidate null"
    assert "weight 0" in str(failed)


def baking(store: Store) -> bool:
    """Whether the first share was seen, and it bakes."""
    runs = find_runs(store)
    kinds = [entry.kind for entry in Journal(store, runs[0].id, actor=Actor.current()).entries()] if runs else []
    return kinds.count("gate-opened") == 2
