"""A whole canary on a real API server whose runner is killed right after a write, whichever it is: one version is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.journal import Keys, find_runs, load_run, verify_run
from sretoolkit.plan.recovery import recover
from sretoolkit.store import Store
from tests.conftest import REPOSITORY
from tests.stack.kubernetes import Cluster

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

PROGRAM = """
import os, signal, sys
from sretoolkit.config import Config
from sretoolkit.hosts.cluster import Cluster
from sretoolkit.rollout.rollout import Rollout
store, keys, context, space, image, last = sys.argv[1:]
send, left = Cluster._ask, [int(last)]
def counted(self, method, path, **request):
    answer = send(self, method, path, **request)
    if method != "GET":
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return answer
config = Config.of(store={"url": store}, journal={"keys": keys})
named = {"context": context, "namespace": space, "name": "web"}
rollout = Rollout.of("shop", {
    "workload": {"kind": "kubernetes", **named},
    "router": {"kind": "replicas", "service": "web", **named},
    "strategy": {"kind": "canary", "steps": [25, 50], "bake": "0.2s"},
})
plan = rollout.plan(image, config=config)
Cluster._ask = counted
plan.run(apply=True, config=config)
print(int(last) - left[0])
"""
WRITES = 12  # made; two for each share up and three for the one down; the stable version; deleted
PLACES = range(1, WRITES + 1) if os.environ.get("EVERY_FAULT") else (1, 2, 7, 11)


@pytest.fixture
def space(control_plane: Cluster) -> Iterator[str]:
    """A namespace with four pods of "web" behind a Service."""
    with control_plane.namespace("killed") as name:
        labels, meta = {"app": "web", "track": "stable"}, {"name": "web", "namespace": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "shop:1"}]}}
        spec = {"replicas": 4, "selector": {"matchLabels": labels}, "template": template}
        service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        control_plane.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        )
        control_plane.kubectl("-n", name, "rollout", "status", "deployment/web", "--timeout=60s")
        yield name


def run(cluster: Cluster, config: Config, space: str, image: str, last: int) -> subprocess.CompletedProcess[str]:
    """The canary in a process of its own, which dies after so many writes (0: it does not)."""
    arguments = [config["store.url"], config["journal.keys"], cluster.context, space, image, str(last)]
    place = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=place, capture_output=True, text=True, check=False, timeout=120)


def standing(cluster: Cluster, space: str) -> list[tuple[str, str, int, int]]:
    """Every Deployment: name, image, wanted and available pods."""
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("-n", space, "get", "deployments", "-o", "json"))["items"]
    return [
        (
            each["metadata"]["name"],
            each["spec"]["template"]["spec"]["containers"][0]["image"],
            each["spec"]["replicas"],
            each["status"].get("availableReplicas", 0),
        )
        for each in found
    ]


def test_nobody_kills_it(control_plane: Cluster, space: str, config: Config, store: Store) -> None:
    """The new version serves, of the candidate nothing is left; and so many writes it takes."""
    done = run(control_plane, config, space, "shop:2", 0)
    assert 0 == done.returncode, done.stderr
    # now and then a controller has written its status between, and a write is refused and done again
    assert WRITES <= int(done.stdout.split()[-1]) <= WRITES + 4
    assert [("web", "shop:2", 4, 4)] == standing(control_plane, space)


@pytest.mark.parametrize("resume", [False, True], ids=["undone", "resumed"])
@pytest.mark.parametrize("last", PLACES)
def test_killed_after_a_write(
    control_plane: Cluster,
    space: str,
    config: Config,
    store: Store,
    keys: Keys,
    last: int,
    resume: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Undone, all is the old version, resumed, the new one; every pod is there, and the journal is whole."""
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    done = run(control_plane, config, space, "shop:2", last)
    assert -9 == done.returncode, done.stderr
    lost = find_runs(store)[0].id

    recover(store, lost, config=config, resume=resume)

    assert [("web", "shop:2" if resume else "shop:1", 4, 4)] == standing(control_plane, space)
    assert ("completed" if resume else "undone") == load_run(store, lost).state
    assert "whole" == verify_run(store, keys, lost).state
