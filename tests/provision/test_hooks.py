"""Hooks: told in JSON, obeyed in JSON, and never able to hold anything up."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.journal import Journal, Keys, find_runs, verify_store
from sretoolkit.provision import hooks
from sretoolkit.provision.entries import Hook
from sretoolkit.provision.handlers import Desk
from sretoolkit.provision.registry import Registry
from sretoolkit.server.follower import Follower
from sretoolkit.server.recorder import RUNBOOK
from tests.provision.conftest import IMAGE, web
from tests.provision.machine import Machine


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """An executable of these shell lines."""

    def make(text: str) -> str:
        path = tmp_path / f"hook-{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


@pytest.fixture
def node(machines_desk: Desk, write: Any) -> str:
    """A machine that is matched."""
    write(IMAGE, web())
    machine = Machine(machines_desk, 1)
    machine.boot()
    return machine.node


def test_a_hook_is_told_and_obeyed(registry: Registry, node: str, program: Any, tmp_path: Path, write: Any) -> None:
    """Razor's keys, in and out: metadata and its own configuration are changed, its output is in the machine's log."""
    answer = {
        "hook": {"configuration": {"update": {"count": 1}, "remove": ["old"]}},
        "node": {"metadata": {"update": {"rack": "a1"}}}, "output": "filed",
    }  # fmt: skip
    hook = Hook(
        name="cmdb", command=(program(f"cat > {tmp_path}/told; echo '{json.dumps(answer)}'"),), configuration={"old": 1}
    )
    write(hook)
    assert "" == hooks.tell(registry, hook, "node-registered", node)
    told = json.loads((tmp_path / "told").read_text())
    assert ("node-registered", node, "SN1", "web") == (
        told["hook"]["event"], told["node"]["name"], told["node"]["hw_info"]["serial"], told["policy"]["name"],
    )  # fmt: skip
    assert ({"rack": "a1"}, {"count": 1}) == (
        dict(registry.node(node).metadata),
        registry.document("hook", "cmdb").to_dict()["configuration"],
    )
    assert "filed" == registry.log(node)[-1]["entry"]["output"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 3", "exit code 3"),
        ("echo no json", "is no JSON"),
        ("echo '[1]'", "no JSON table"),
        ('echo \'{"error": "cmdb away"}\'', "cmdb away"),
        ('echo \'{"node": {"metadata": 7}}\'', "cannot be used"),
        ("kill -SEGV $$", "exit code -11"),
        ("sleep 1000", "killed"),
        ("(trap '' TERM; sleep 1000) & sleep 1000", "killed"),
    ],
)
def test_whatever_a_hook_does_wrong_is_said(registry: Registry, node: str, program: Any, text: str, words: str) -> None:
    """Issue fault "hook that hangs or crashes": it is written into the machine's log, and nothing else happens."""
    fault = hooks.tell(registry, Hook(name="bad", command=(program(text),), timeout=1), "node-registered", node)
    entry = registry.log(node)[-1]
    assert (True, "hook-failed", fault) == (words in fault, entry["event"], entry["entry"]["error"])


def test_a_hook_that_talks_without_end_is_no_deadlock(registry: Registry, node: str, program: Any) -> None:
    """Razor's deadlocks beyond 64 kB; here output is read while it comes, on both streams."""
    said = hooks.run(
        Hook(name="loud", command=(program("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 4"),)),
        {"a": "x" * 500_000},
    )
    assert (4, True, True) == (said.exit_code, len(said.out) < 1_200_000, len(said.err) < 1_200_000)


def test_a_program_that_is_not_there_is_said(registry: Registry, node: str) -> None:
    """Bad configuration is no crash."""
    assert "No such file" in hooks.tell(
        registry, Hook(name="gone", command=("/nonexistent/hook",)), "node-registered", node
    )


def test_what_a_hook_started_ends_with_it(registry: Registry, program: Any, tmp_path: Path) -> None:
    """Its whole process group is killed, so that nothing is left when it returns."""
    hooks.run(Hook(name="forks", command=(program(f"sleep 1000 & echo $! > {tmp_path}/pid; echo '{{}}'"),)), {})
    pid = int((tmp_path / "pid").read_text())

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    assert poll(gone, timeout=10)


def test_hooks_follow_what_happens_and_one_that_hangs_delays_nobody(
    registry: Registry, machines_desk: Desk, config: Config, program: Any, tmp_path: Path, write: Any
) -> None:
    """A hanging hook has a line of its own; the other one hears of every machine; nothing is told twice after a restart."""
    hanging, hearing = program("sleep 1000"), program(f"cat >/dev/null; echo x >> {tmp_path}/heard; echo '{{}}'")
    hangs = Hook(name="hangs", command=(hanging,), timeout=3600)
    write(IMAGE, web(), hangs, Hook(name="hears", command=(hearing,), events=("node-registered",)))
    heard = tmp_path / "heard"

    def count() -> int:
        return len(heard.read_text().split()) if heard.exists() else 0

    follower = Follower(registry, config)
    follower.start()
    for number in (1, 2, 3):
        Machine(machines_desk, number).boot()
    assert poll(lambda: count() == 3, timeout=20)
    follower.close()
    again = Follower(registry, config)
    again.start()
    Machine(machines_desk, 4).boot()
    assert poll(lambda: count() == 4, timeout=20)
    again.close()


def test_what_happens_is_on_the_signed_record(
    registry: Registry, machines_desk: Desk, config: Config, write: Any
) -> None:
    """Issue "every transition journalled": one server at a time writes it, a killed one's run is gone on with."""
    write(IMAGE, web())
    first, second = Follower(registry, config), Follower(registry, config)
    first.start()
    machine = Machine(machines_desk, 1)
    machine.boot()

    def recorded() -> list[str]:
        runs = [run for run in find_runs(registry.store) if run.runbook == RUNBOOK]
        entries = [Journal(registry.store, run.id, actor=Actor("alice")).entries(kind="machines") for run in runs]
        return [event["event"] for each in entries for entry in each for event in entry.payload["events"]]

    assert poll(lambda: "node-bound-to-policy" in recorded(), timeout=20)
    second.start()
    machine.boot()
    assert poll(lambda: recorded().count("node-booted") == 2, timeout=20)
    first.close()
    machine.boot()
    assert poll(lambda: recorded().count("node-booted") == 3, timeout=20)
    second.close()
    runs = [run for run in find_runs(registry.store) if run.runbook == RUNBOOK]
    assert ["completed", "completed"] == [run.state for run in runs]
    assert {"whole"} == {proof.state for proof in verify_store(registry.store, Keys.of(config))}
