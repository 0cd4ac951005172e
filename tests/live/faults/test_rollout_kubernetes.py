"""A whole canary on a real API server in trouble: refusing, away, slow, or changed by somebody else in the middle of it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sretoolkit.actor import Actor
from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import GateFailed, LeaseHeld, UndoFailed
from sretoolkit.journal import Journal, Keys, find_runs, verify_run
from sretoolkit.journal.entry import Entry
from sretoolkit.plan import Plan
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.store import Store, open_store
from tests.live.conftest import ours
from tests.stack.kubernetes import Cluster, Kubernetes
from tests.stack.kubernetes_between import Between, Fault

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
AWAY = 60.0 if os.environ.get("EVERY_FAULT") else 8.0  # seconds


@pytest.fixture
def own(control_plane: Cluster) -> Iterator[Kubernetes]:
    """The control plane, where it is one of our own."""
    found = ours(control_plane)
    with found.chosen():
        yield found


@pytest.fixture
def space(own: Kubernetes) -> Iterator[str]:
    """A namespace with four pods of "web" behind a Service."""
    with own.namespace("faults") as name:
        labels, meta = {"app": "web", "track": "stable"}, {"name": "web", "namespace": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "shop:1"}]}}
        spec = {"replicas": 4, "selector": {"matchLabels": labels}, "template": template}
        service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        own.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        )
        own.kubectl("-n", name, "rollout", "status", "deployment/web", "--timeout=60s")
        yield name


def canary(own: Kubernetes, space: str, config: Config, *, version: str = "shop:2", bake: str = "0.2s") -> Plan:
    """A canary of a quarter and a half."""
    named = {"context": own.context, "namespace": space, "name": "web"}
    told = {
        "workload": {"kind": "kubernetes", **named},
        "router": {"kind": "replicas", "service": "web", **named},
        "strategy": {"kind": "canary", "steps": [25, 50], "bake": bake},
    }
    return Rollout.of("shop", told).plan(version, config=config)


def standing(own: Kubernetes, space: str) -> list[tuple[str, str, int]]:
    """Name, image and available pods of every Deployment."""
    found: list[dict[str, Any]] = json.loads(own.kubectl("-n", space, "get", "deployments", "-o", "json"))["items"]
    return [
        (
            each["metadata"]["name"],
            each["spec"]["template"]["spec"]["containers"][0]["image"],
            each["status"].get("availableReplicas", 0),
        )
        for each in found
    ]


def once(status: int) -> Fault:
    """Every write is refused so the first time that it is made; in conflict can be only what is changed."""
    refused = ("PATCH",) if status == 409 else ("POST", "PATCH", "DELETE")
    return lambda method, path, before: status if method in refused and not before else 0


def every_third(status: int) -> Fault:
    """Every third request, of whatever kind, is refused."""
    counted = iter(range(10**9))
    return lambda method, path, before: status if next(counted) % 3 == 2 else 0


@pytest.mark.parametrize(
    "fault",
    [once(409), once(429), once(500), once(-500), every_third(429), every_third(503)],
    ids=["409", "429", "500", "500 though it was done", "429 to all kinds", "503 to all kinds"],
)
def test_an_api_server_that_refuses(
    own: Kubernetes,
    space: str,
    config: Config,
    store: Store,
    keys: Keys,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What passes is waited out, what was done already is not done twice: the canary ends with the new version alone."""
    with Between(own, fault) as between:
        monkeypatch.setenv("KUBECONFIG", str(between.kubeconfig))
        outcome = canary(own, space, config).run(apply=True, config=config, store=store)
        told = between.answered

    assert "completed" == outcome.state
    assert len(told) >= 4
    assert [("web", "shop:2", 4)] == standing(own, space)
    assert "whole" == verify_run(store, keys, find_runs(store)[0].id).state


def test_an_api_server_that_is_away_for_a_while(own: Kubernetes, space: str, config: Config, store: Store) -> None:
    """It is killed while a share is being set and comes back (a minute later in the full loops): the canary goes on."""
    plan = canary(own, space, config)

    def away() -> None:
        begun = poll(lambda: "web-canary" in {name for name, _, _ in standing(own, space)}, timeout=60)
        assert begun
        own.stop_server()
        threading.Event().wait(AWAY)
        own.start_server()

    thread = threading.Thread(target=away)
    thread.start()
    try:
        outcome = plan.run(apply=True, config=config, store=store)
    finally:
        thread.join(AWAY + 120)

    assert "completed" == outcome.state
    assert sum(seconds or 0 for _, _, seconds, _ in outcome.rows) > AWAY
    assert [("web", "shop:2", 4)] == standing(own, space)


def test_a_slow_etcd(own: Kubernetes, space: str, config: Config, store: Store) -> None:
    """It stands still four fifths of the time: all takes longer, and ends as ever."""
    plan = canary(own, space, config)
    with own.slow_store():
        outcome = plan.run(apply=True, config=config, store=store)

    assert "completed" == outcome.state
    assert [("web", "shop:2", 4)] == standing(own, space)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("set", "image", "deployment/web-canary", "app=shop:9"), "web-canary"),
        (("set", "image", "deployment/web", "app=shop:9"), "web"),
        (("scale", "deployment/web", "--replicas=9"), "the share of the candidate"),
    ],
)
def test_somebody_else_edits_in_the_middle(
    own: Kubernetes, space: str, config: Config, store: Store, edit: tuple[str, ...], said: str
) -> None:
    """Seen by the gate: the rollout ends and says what was changed; what they wrote is not written over."""
    plan = canary(own, space, config, bake="60s")
    failed: list[Exception] = []

    def carried_out() -> None:
        try:
            with open_store(config) as opened:
                plan.run(apply=True, config=config, store=opened)
        except (GateFailed, UndoFailed) as error:
            failed.append(error)

    thread = threading.Thread(target=carried_out)
    thread.start()
    assert poll(lambda: ("web-canary", "shop:2", 1) in standing(own, space), timeout=60)
    assert poll(lambda: baking(config), timeout=60)
    own.kubectl("-n", space, *edit)
    thread.join(120)

    reasons = [str(entry.content) for entry in journalled(config) if entry.kind == "gate-failed"]
    assert 1 == len(reasons)
    assert f"somebody else changed {said}" in reasons[0].replace(f"Deployment {space}/", "")
    assert failed
    after = standing(own, space)
    if edit[0] == "set":
        assert "shop:9" in {image for name, image, _ in after if name == edit[2].partition("/")[2]}


def journalled(config: Config) -> list[Entry]:
    """What the journal has of the newest run."""
    with open_store(config) as store:
        runs = find_runs(store)
        return list(Journal(store, runs[0].id, actor=Actor.current()).entries()) if runs else []


def baking(config: Config) -> bool:
    """Whether a gate has been opened."""
    return "gate-opened" in {entry.kind for entry in journalled(config)}


def test_two_rollouts_of_one_service(own: Kubernetes, space: str, config: Config) -> None:
    """The second is refused with who has it, and has written nothing; the first one goes on."""
    first, second = canary(own, space, config, bake="3s"), canary(own, space, config, version="shop:3")
    with open_store(config) as store:
        thread = threading.Thread(target=lambda: first.run(apply=True, config=config))
        thread.start()
        assert poll(lambda: baking(config), timeout=60)
        with pytest.raises(LeaseHeld, match="web"):
            second.run(apply=True, config=config, store=store)
        thread.join(120)

    assert [("web", "shop:2", 4)] == standing(own, space)
