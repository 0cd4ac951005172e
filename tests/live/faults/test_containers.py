"""A container is being replaced when the runner is killed: its old self runs again under its name, and nothing is left."""

from __future__ import annotations

import os
import random

import pytest

from sretoolkit.clock import poll
from tests.runbook.desk import Desk
from tests.stack.docker import Docker

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="a Docker Engine needs root")]
STEPS = 6  # of a container with a restart policy


def boundaries() -> list[int]:
    """After how many steps the runner is killed. CI takes a sample."""
    every = range(STEPS)
    if os.environ.get("EVERY_FAULT"):
        return list(every)
    return sorted(random.Random(int(os.environ["FAULT_SEED"])).sample(every, 2))


@pytest.mark.parametrize("done", boundaries())
def test_a_runner_killed_while_a_container_is_replaced(desk: Desk, done: int) -> None:
    """Killed after each step: `recover` brings the old container back as it was, and its journal says so."""
    with Docker() as engine:
        desk.environment["DOCKER_HOST"] = engine.url
        name = engine.run("sleep", "600", options=("--stop-timeout", "1", "--restart", "always"))
        form = "{{.Id}} {{.State.Running}} {{.HostConfig.RestartPolicy.Name}}"
        before = engine.call("inspect", "--format", form, name)
        process = desk.start("run", "pid1_remedy", "-p", f"container={name}", "-p", "cure=init", "--apply")
        assert poll(lambda: len(_after(desk)) >= done, timeout=60, interval=0.01)
        process.kill()
        process.communicate(timeout=30)
        finished = len(_after(desk))

        recovered = desk.run("recover")

        assert 0 == recovered.returncode, recovered.stdout
        if finished < STEPS:
            assert before == engine.call("inspect", "--format", form, name)
            assert [name] == engine.call("ps", "-a", "--format", "{{.Names}}").split()


def _after(desk: Desk) -> list[object]:
    runs = desk.runs()
    return desk.entries(runs[0].id, "step-after") if runs else []
