"""Tracks of a Deployment or StatefulSet, by the real API server and its controllers; the pods are only told of."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from sretoolkit.clock import Clock, poll
from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.cluster import Cluster as Asked
from sretoolkit.hosts.cluster import ClusterError
from sretoolkit.plan import Context
from sretoolkit.rollout.routers.replicas import Replicas
from sretoolkit.rollout.routers.service import Service
from sretoolkit.rollout.workload import BASELINE, CANDIDATE, STABLE, Workload
from sretoolkit.rollout.workloads.kubernetes import Kubernetes as Workloads
from tests.live.conftest import ours
from tests.stack.kubernetes import Cluster, Kubernetes

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]


class Counting(Asked):
    """Counts what it asks, and can be told what to do after a write."""

    def __init__(self, context: str, *, patience: Callable[[], float]) -> None:
        super().__init__(context, patience=patience)
        self.asked: list[str] = []
        self.after_write: Callable[[], None] | None = None

    def watch(self, path: str, **about: Any) -> Iterator[dict[str, Any]]:
        """Counted when it begins."""
        self.asked.append(f"WATCH {path}")
        return super().watch(path, **about)

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        self.asked.append(f"{method} {path}")
        answer = super()._ask(method, path, **request)
        if method != "GET" and self.after_write:
            self.after_write()
        return answer


@pytest.fixture(scope="module", autouse=True)
def _asked(control_plane: Cluster) -> Iterator[None]:
    """Contexts are those of the control plane."""
    with control_plane.chosen():
        yield


@pytest.fixture
def own(control_plane: Cluster) -> Kubernetes:
    """The control plane, where it is one of our own."""
    return ours(control_plane)


@pytest.fixture
def space(control_plane: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with control_plane.namespace("rollout") as name:
        yield name


@pytest.fixture
def asked(control_plane: Cluster, ctx: Context) -> Counting:
    """The context's connection, which counts."""
    name = control_plane.context
    return ctx.use(("cluster", name), lambda: Counting(name, patience=ctx.remaining))


def made(
    cluster: Cluster, space: str, image: str = "shop:1", *, kind: str = "Deployment", replicas: int = 3, **more: Any
) -> None:
    """A workload "web" with a Service; its pods are ready. ``tracked``: its selector names the track."""
    own = {"app": "web", **({"track": "stable"} if more.pop("tracked", True) else {})}
    spec = {"containers": [{"name": "app", "image": image, **more.pop("container", {})}], **more.pop("pod", {})}
    labels, annotations = more.pop("labels", {}), more.pop("annotations", {})
    selects = more.pop("selects", {"app": "web"})
    body = {
        "replicas": replicas,
        "selector": {"matchLabels": own},
        "template": {"metadata": {"labels": own}, "spec": spec},
        **({"serviceName": "web"} if kind == "StatefulSet" else {"progressDeadlineSeconds": 20}),
        **more,
    }
    meta = {"name": "web", "namespace": space}
    service = {"selector": selects, "ports": [{"port": 80}]}
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {**meta, "labels": labels, "annotations": annotations},
            "spec": body,
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    )
    cluster.kubectl("-n", space, "rollout", "status", f"{kind.lower()}/web", "--timeout=60s")


def workload(cluster: Cluster, space: str, **more: Any) -> Workloads:
    """The workload plug-in for "web"."""
    return Workloads(name="web", context=cluster.context, namespace=space, **more)


def objects(cluster: Cluster, space: str, kind: str) -> list[dict[str, Any]]:
    """The objects of a kind in the namespace."""
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("-n", space, "get", kind, "-o", "json"))["items"]
    return found


def images(cluster: Cluster, space: str) -> dict[str, str]:
    """Name and image of every pod that is not about to go."""
    pods = [pod for pod in objects(cluster, space, "pods") if not pod["metadata"].get("deletionTimestamp")]
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in pods}


def led_to(cluster: Cluster, space: str) -> list[str]:
    """The pods of the Service's Endpoints."""
    found = json.loads(cluster.kubectl("-n", space, "get", "endpoints", "web", "-o", "json"))
    addresses = [each for subset in found.get("subsets") or () for each in subset.get("addresses") or ()]
    return sorted(each["targetRef"]["name"] for each in addresses)


# ---------------------------------------------------------------------- the tracks of a Deployment


@pytest.mark.parametrize("tracked", [True, False])
def test_a_candidate_comes_grows_and_goes(
    control_plane: Cluster, space: str, ctx: Context, asked: Counting, tracked: bool
) -> None:
    """Beside the stable Deployment, of which not one pod is touched; with and without a label of its own in its selector."""
    made(control_plane, space, tracked=tracked)
    before = images(control_plane, space)
    part = workload(control_plane, space)

    found = part.look(ctx, "shop:2")
    part.set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 1})
    first = part.track(ctx, CANDIDATE)
    begun = len(asked.asked)
    part.set_track(ctx, CANDIDATE, {"replicas": 3})
    calls = asked.asked[begun:]

    assert ("shop:1", 3, None, False) == (found.version, found.replicas, found.candidate, found.scaled)
    assert ({"version": "shop:2", "replicas": 1}, {"version": "shop:2", "replicas": 3}) == (
        first,
        part.track(ctx, CANDIDATE),
    )
    now = images(control_plane, space)
    assert before.items() <= now.items()
    assert ["shop:2"] * 3 == [image for name, image in now.items() if name not in before]
    deployments = {
        each["metadata"]["name"]: each["spec"]["selector"] for each in objects(control_plane, space, "deployments")
    }
    assert {"app": "web", "track": "candidate"} == deployments["web-canary"]["matchLabels"]
    assert ("rollout-selector" in {each.rule for each in found.findings}) is not tracked
    assert "" == part.trouble(ctx, CANDIDATE) == part.trouble(ctx, STABLE)
    assert len(calls) <= 6, calls
    assert poll(lambda: 6 == len(led_to(control_plane, space)), timeout=10)

    part.set_track(ctx, CANDIDATE, None)

    assert before == images(control_plane, space)
    assert part.track(ctx, CANDIDATE) is None
    part.set_track(ctx, CANDIDATE, None)


def test_the_stable_track_takes_a_version_and_goes_back(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Returned means: every pod is of that version and available; the version before is known as a revision."""
    made(control_plane, space, container={"env": [{"name": "PASSWORD", "value": "hunter2"}]})
    part = workload(control_plane, space)

    part.set_track(ctx, STABLE, {"version": "shop:2"})
    assert {"shop:2"} == set(images(control_plane, space).values())
    past = part.revisions(ctx)
    part.set_track(ctx, STABLE, {"version": past[0].version})

    assert {"shop:1"} == set(images(control_plane, space).values())
    assert [("shop:1", ("image to shop:2",))] == [(each.version, each.changes) for each in past]
    writers = objects(control_plane, space, "deployments")[0]["metadata"].get("managedFields") or [
        {"manager": "sretoolkit"}
    ]
    assert "sretoolkit" in {each["manager"] for each in writers}


def test_a_baseline_is_the_old_version_once_more(control_plane: Cluster, space: str, ctx: Context) -> None:
    """As big as is asked for, and of labels of its own."""
    made(control_plane, space)
    part = workload(control_plane, space)
    part.set_track(ctx, BASELINE, {"version": "shop:1", "replicas": 2})
    assert {"version": "shop:1", "replicas": 2} == part.track(ctx, BASELINE)
    assert [2] == [
        each["spec"]["replicas"]
        for each in objects(control_plane, space, "deployments")
        if each["spec"]["selector"]["matchLabels"].get("track") == "baseline"
    ]
    part.set_track(ctx, BASELINE, None)


@pytest.mark.parametrize(
    ("image", "said"),
    [("shop-crash:2", "CrashLoopBackOff"), ("shop-missing:2", "ErrImagePull"), ("shop-broken:2", "long")],
)
@pytest.mark.parametrize("track", [CANDIDATE, STABLE])
def test_what_cannot_come_up_fails_and_can_be_taken_back(
    control_plane: Cluster, space: str, ctx: Context, image: str, said: str, track: str
) -> None:
    """At once where the kubelet says so, else when the time is over; the stable pods go on, and the way back works."""
    made(control_plane, space)
    before = images(control_plane, space)
    part = workload(control_plane, space)
    ctx.start(4 if said == "long" else 30)
    began = Clock().monotonic()

    with pytest.raises(HostError, match=said) as caught:
        part.set_track(ctx, track, {"version": image, **({"replicas": 2} if track == CANDIDATE else {})})

    assert Clock().monotonic() - began < (8 if said == "long" else 5)
    assert "app" in str(caught.value)
    assert image == (part.track(ctx, track) or {})["version"]
    if said != "long":
        assert said in part.trouble(ctx, track)
    ctx.start(30)
    part.set_track(ctx, track, None if track == CANDIDATE else {"version": "shop:1"})
    assert ["shop:1"] * 3 == list(images(control_plane, space).values())
    assert len(before.keys() & images(control_plane, space).keys()) >= 2


def test_a_slow_one_is_waited_for(control_plane: Cluster, space: str, ctx: Context, asked: Counting) -> None:
    """By watching: the number of requests does not depend on how long it takes."""
    made(control_plane, space)
    began = Clock().monotonic()
    workload(control_plane, space).set_track(ctx, CANDIDATE, {"version": "shop-slow:2", "replicas": 2})
    assert 1.5 < Clock().monotonic() - began < 8
    assert len(asked.asked) <= 8, asked.asked


def test_a_quota_is_seen_before_and_ends_a_step(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Room for no pod refuses the plan, room for one is a finding, and what does not fit fails at once."""
    made(control_plane, space)
    part = workload(control_plane, space)
    control_plane.kubectl("-n", space, "create", "quota", "few", "--hard=pods=4")
    quota = ("-n", space, "get", "quota", "few", "-o", "jsonpath={.status.used.pods}")
    assert poll(lambda: control_plane.kubectl(*quota) == "3", timeout=20)

    assert "rollout-quota" in {each.rule for each in part.look(ctx, "shop:2").findings}
    part.set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 1})
    with pytest.raises(HostError, match="exceeded quota: few"):
        part.set_track(ctx, CANDIDATE, {"replicas": 3})
    part.set_track(ctx, CANDIDATE, {"replicas": 1})
    with pytest.raises(PlanError, match="leaves room for 0 more pods"):
        part.look(ctx, "shop:2")


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        (
            {"pod": {"volumes": [{"name": "c", "configMap": {"name": "none"}}]}, "replicas": 0},
            "ConfigMap .*none is not there",
        ),
    ],
)
def test_what_must_not_be_begun_is_refused(
    control_plane: Cluster, space: str, ctx: Context, more: dict[str, Any], said: str
) -> None:
    """Managed by somebody else, or with a ConfigMap that is not there."""
    made(control_plane, space, **more)
    with pytest.raises(PlanError, match=said):
        workload(control_plane, space).look(ctx, "shop:2")


def test_paused_unknown_and_foreign_ones_are_refused(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Paused, not there, several containers, a candidate that somebody else has made."""
    part = workload(control_plane, space)
    with pytest.raises(PlanError, match="there is no Deployment"):
        part.look(ctx, "shop:2")
    made(control_plane, space)
    with pytest.raises(PlanError, match="has no container 'web'"):
        workload(control_plane, space, container="web").look(ctx, "shop:2")
    control_plane.kubectl("-n", space, "create", "deployment", "web-canary", "--image=shop:1")
    with pytest.raises(PlanError, match="was not made for"):
        part.look(ctx, "shop:2")
    with pytest.raises(HostError, match="was not made by a rollout"):
        part.set_track(ctx, CANDIDATE, None)
    control_plane.kubectl("-n", space, "rollout", "pause", "deployment/web")
    with pytest.raises(PlanError, match="is paused"):
        part.look(ctx, "shop:2")


def test_an_autoscaler_keeps_its_replicas(control_plane: Cluster, space: str, ctx: Context) -> None:
    """It is seen, its number is never written, and a selector that would let it count the candidate is refused."""
    made(control_plane, space)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": space},
    }
    control_plane.apply({**scaler, "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 9}})
    part = workload(control_plane, space)
    found = part.look(ctx, "shop:2")
    assert found.scaled
    with pytest.raises(HostError, match="HorizontalPodAutoscaler web sets how many"):
        part.set_track(ctx, STABLE, {"replicas": 1})
    part.set_track(ctx, STABLE, {"version": "shop:2"})
    with pytest.raises(PlanError, match="HorizontalPodAutoscaler web would undo"):
        router(control_plane, space).check(ctx)
    other = Workloads(name="web", context=control_plane.context, namespace=space, track_label="colour")
    with pytest.raises(PlanError, match="would count the candidate's pods"):
        other.look(ctx, "shop:3")


def test_a_disruption_budget_holds(control_plane: Cluster, space: str, ctx: Context) -> None:
    """A workload whose own way to roll breaks it is refused before; fewer replicas than it asks for are refused then."""
    made(control_plane, space, replicas=4)
    with Asked(control_plane.context) as there:
        version = there.served("policy")[0]
    selector = {"matchLabels": {"app": "web"}}
    budget = {
        "apiVersion": f"policy/{version}",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": space},
    }
    control_plane.apply({**budget, "spec": {"selector": selector, "minAvailable": 4}})
    part = workload(control_plane, space)
    with pytest.raises(PlanError, match="PodDisruptionBudget web asks for 4"):
        part.look(ctx, "shop:2")
    change = {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}}
    control_plane.kubectl("-n", space, "patch", "deployment", "web", "-p", json.dumps(change))
    part.look(ctx, "shop:2")
    with pytest.raises(HostError, match="PodDisruptionBudget web asks for 4"):
        part.set_track(ctx, STABLE, {"replicas": 3})
    assert {"version": "shop:1", "replicas": 4} == part.track(ctx, STABLE)
    part.set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 2})
    part.set_track(ctx, STABLE, {"replicas": 3})


def test_config_maps_and_secrets_go_with_their_version(control_plane: Cluster, space: str, ctx: Context) -> None:
    """The new pods refer to those of their own version, which must be there before; the old ones keep theirs."""
    for name in ("web-1", "key-1", "key-2"):
        kind = ("secret", "generic") if name.startswith("key") else ("configmap",)
        control_plane.kubectl("-n", space, "create", *kind, name, "--from-literal=a=b")
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key-1", "key": "a"}}}]
    volumes = [{"name": "c", "configMap": {"name": "web-1"}}]
    made(control_plane, space, container={"env": env}, pod={"volumes": volumes})
    mine = {"ConfigMap/web": "ConfigMap/web-{version}", "Secret/key": "Secret/key-{version}"}
    part = Workload.of({**workload(control_plane, space).to_dict(), "references": mine})

    with pytest.raises(PlanError, match=r"ConfigMap .*web-2 is not there"):
        part.look(ctx, "shop:2")
    control_plane.kubectl("-n", space, "create", "configmap", "web-2", "--from-literal=a=c")
    part.look(ctx, "shop:2")
    part.set_track(ctx, CANDIDATE, {"version": "shop:2"})

    pods = {each["spec"]["containers"][0]["image"]: each["spec"] for each in objects(control_plane, space, "pods")}
    for version in "12":
        spec = pods[f"shop:{version}"]
        assert f"key-{version}" == spec["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]["name"]
        assert f"web-{version}" == next(each for each in spec["volumes"] if each["name"] == "c")["configMap"]["name"]


# ---------------------------------------------------------------------- others, and being killed


def test_an_edit_of_somebody_else_is_not_fought(
    control_plane: Cluster, space: str, ctx: Context, asked: Counting
) -> None:
    """While we wait: it ends, says who it was, and leaves what they wrote."""
    made(control_plane, space)
    part = workload(control_plane, space)

    def meddle() -> None:
        asked.after_write = None
        control_plane.kubectl("-n", space, "set", "image", "deployment/web", "app=shop-slow:9")

    asked.after_write = meddle
    with pytest.raises(HostError, match="changed by kubectl"):
        part.set_track(ctx, STABLE, {"version": "shop-slow:2"})
    assert {"version": "shop-slow:9", "replicas": 3} == part.track(ctx, STABLE)


class Killed(BaseException):
    """The process is gone."""


STATES: list[tuple[str, dict[str, Any] | None]] = [
    (CANDIDATE, {"version": "shop:2", "replicas": 2}),
    (CANDIDATE, {"replicas": 1}),
    (STABLE, {"version": "shop:2"}),
    (CANDIDATE, None),
]


def test_killed_after_each_write_it_is_done_again(control_plane: Cluster, space: str, config: Config) -> None:
    """Each state of a whole canary: the process dies right after the write, the next one does the same once more."""
    made(control_plane, space)
    part = workload(control_plane, space)
    for track, state in STATES:
        with Process(control_plane, config) as (first, asked):
            asked.after_write = _die
            with pytest.raises(Killed):
                part.set_track(first, track, state)
        with Process(control_plane, config) as (second, _):
            part.set_track(second, track, state)
            seen = part.track(second, track)
            assert state is None if seen is None else {key: seen[key] for key in state or ()} == state
    assert ["shop:2"] * 3 == list(images(control_plane, space).values())


def _die() -> None:
    raise Killed


class Process:
    """A context of another process, and its connection."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        self.ctx = Context(config=config)
        self.ctx.start(60)
        name = cluster.context
        self.asked = self.ctx.use(("cluster", name), lambda: Counting(name, patience=self.ctx.remaining))

    def __enter__(self) -> tuple[Context, Counting]:
        return self.ctx, self.asked

    def __exit__(self, *_: object) -> None:
        self.ctx.close()


def test_an_api_server_that_is_away_is_waited_for(own: Kubernetes, space: str, ctx: Context, asked: Counting) -> None:
    """It ends in the middle of a step and comes back seconds later: the step is done, nothing is done twice."""
    made(own, space)
    part = workload(own, space)
    back = threading.Timer(3, own.start_server)

    def away() -> None:
        asked.after_write = None
        own.stop_server()
        back.start()

    asked.after_write = away
    part.set_track(ctx, CANDIDATE, {"version": "shop-slow:2", "replicas": 2})
    back.join()
    assert ["shop-slow:2"] * 2 == [each for each in images(own, space).values() if each != "shop:1"]


def test_the_audit_log_agrees(own: Kubernetes, space: str, ctx: Context) -> None:
    """One create, one patch, one delete: by the API server's own record we wrote that and nothing else."""
    made(own, space)
    part = workload(own, space)
    log = own.place.folder / "audit.log"
    begun = log.stat().st_size
    part.look(ctx, "shop:2")
    part.set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 1})
    part.set_track(ctx, CANDIDATE, {"replicas": 2})
    part.set_track(ctx, CANDIDATE, None)
    with log.open() as lines:
        lines.seek(begun)
        entries = [json.loads(line) for line in lines]
    mine = [
        each
        for each in entries
        if each.get("objectRef", {}).get("namespace") == space and each["userAgent"] == "sretoolkit"
    ]
    assert [("create", 201), ("patch", 200), ("delete", 200)] == [
        (each["verb"], each["responseStatus"]["code"]) for each in mine
    ]
    assert {"web-canary"} == {each["objectRef"].get("name", "web-canary") for each in mine}


def test_what_may_not_be_read_is_a_finding(
    own: Kubernetes, space: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that knows Deployments alone: autoscalers, budgets, quotas and pods are named as unseen; writes are refused."""
    made(own, space)
    own.kubectl("-n", space, "create", "serviceaccount", "half")
    own.kubectl("-n", space, "create", "role", "half", "--verb=get,list", "--resource=deployments.apps")
    own.kubectl("-n", space, "create", "rolebinding", "half", "--role=half", f"--serviceaccount={space}:half")
    monkeypatch.setenv("KUBECONFIG", str(own.account("half", space)))
    ctx = Context(config=config)
    ctx.start(30)
    part = workload(own, space)
    try:
        unseen = [each.summary for each in part.look(ctx, "shop:2").findings if each.rule == "rollout-unseen"]
        with pytest.raises(ClusterError, match="cannot create resource"):
            part.set_track(ctx, CANDIDATE, {"version": "shop:2"})
    finally:
        ctx.close()
    assert len(unseen) == 5, unseen


# ---------------------------------------------------------------------- StatefulSets


def test_a_stateful_set_goes_batch_by_batch(control_plane: Cluster, space: str, ctx: Context) -> None:
    """From its last pod down, each batch a track; a batch that is not begun has the old version; all of it goes back."""
    made(control_plane, space, kind="StatefulSet", replicas=5)
    part = workload(control_plane, space, object="StatefulSet")
    assert 5 == part.look(ctx, "shop:2").replicas
    batches = part.batches(ctx, 2)
    assert ["partition:3", "partition:1", "partition:0"] == batches
    numbers = []
    for batch in batches:
        assert {"version": "shop:1"} == part.track(ctx, batch)
        part.set_track(ctx, batch, {"version": "shop:2"})
        assert {"version": "shop:2"} == part.track(ctx, batch)
        numbers.append(sorted(name for name, image in images(control_plane, space).items() if image == "shop:2"))
    assert [2, 4, 5] == [len(each) for each in numbers]
    assert ["web-3", "web-4"] == numbers[0]
    assert "shop:1" == part.revisions(ctx)[0].version
    part.set_track(ctx, STABLE, {"version": "shop:1"})
    assert ["shop:1"] * 5 == list(images(control_plane, space).values())


def test_a_broken_batch_goes_back(control_plane: Cluster, space: str, ctx: Context) -> None:
    """The pod that never becomes ready would stop a StatefulSet for ever: it is deleted on the way back."""
    made(control_plane, space, kind="StatefulSet", replicas=3)
    part = workload(control_plane, space, object="StatefulSet")
    with pytest.raises(HostError, match="CrashLoopBackOff"):
        part.set_track(ctx, "partition:1", {"version": "shop-crash:2"})
    assert {"version": "shop-crash:2"} == part.track(ctx, "partition:1")
    assert {"version": "shop:1"} == part.track(ctx, "partition:0")
    part.set_track(ctx, "partition:1", {"version": "shop:1"})
    assert ["shop:1"] * 3 == list(images(control_plane, space).values())


# ---------------------------------------------------------------------- routers


def router(cluster: Cluster, space: str) -> Replicas:
    """The router by replicas for "web"."""
    return Replicas(service="web", name="web", context=cluster.context, namespace=space)


def counts(cluster: Cluster, space: str) -> tuple[int, int]:
    """How many pods of each track the Service leads to."""
    names = led_to(cluster, space)
    candidates = [name for name in names if name.startswith("web-canary-")]
    return len(names) - len(candidates), len(candidates)


def test_replicas_share_out(control_plane: Cluster, space: str, ctx: Context, asked: Counting) -> None:
    """Up to all and down to none: the Service always leads to as many as before, and the share is what was asked for."""
    made(control_plane, space, replicas=4)
    part, share = workload(control_plane, space), router(control_plane, space)
    assert "4 pods share out" in share.check(ctx)[0]
    assert [25, 25, 50] == [share.achieved(ctx, percent) for percent in (5, 25, 50)]
    part.set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 0})
    seen, calls = [], []
    for percent in (5, 50, 100, 0):
        begun = len(asked.asked)
        share.set_weight(ctx, percent)
        calls.append(len(asked.asked) - begun)
        seen.append((share.weight(ctx), counts(control_plane, space)))
    assert [(5, (3, 1)), (50, (2, 2)), (100, (0, 4)), (0, (4, 0))] == seen
    assert max(calls) <= 24, calls
    control_plane.kubectl("-n", space, "scale", "deployment/web-canary", "--replicas=1")
    assert 20 == share.weight(ctx)


def test_killed_while_it_shares_out(control_plane: Cluster, space: str, config: Config) -> None:
    """After each write of each change: on the way the greater share counts, done once more the sizes are right."""
    made(control_plane, space, replicas=4)
    share = router(control_plane, space)
    with Process(control_plane, config) as (ctx, _):
        workload(control_plane, space).set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 0})
    before = 0
    for percent, expected in ((25, (3, 1)), (75, (1, 3)), (50, (2, 2)), (100, (0, 4)), (0, (4, 0))):
        with Process(control_plane, config) as (ctx, asked):
            asked.after_write = _die
            with pytest.raises(Killed):
                share.set_weight(ctx, percent)
            asked.after_write = None
            assert max(before, percent) == share.weight(ctx)
            asked.after_write = _die
            with pytest.raises(Killed):
                share.set_weight(ctx, percent)
        with Process(control_plane, config) as (ctx, _):
            share.set_weight(ctx, percent)
            assert (percent, expected) == (share.weight(ctx), counts(control_plane, space))
        before = percent


def test_a_share_of_broken_pods_is_taken_back(control_plane: Cluster, space: str, ctx: Context) -> None:
    """New pods that never come up, and old ones that broke later: neither keeps the share from going back to none."""
    made(control_plane, space, replicas=4)
    part, share = workload(control_plane, space), router(control_plane, space)
    part.set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 0})
    share.set_weight(ctx, 25)
    change = ("set", "image", "deployment/web-canary", "app=shop-crash:2")
    control_plane.kubectl("-n", space, *change)
    with pytest.raises(HostError, match="CrashLoopBackOff"):
        share.set_weight(ctx, 75)
    assert 75 == share.weight(ctx)
    share.set_weight(ctx, 25)
    share.set_weight(ctx, 0)
    assert (0, (4, 0)) == (share.weight(ctx), counts(control_plane, space))


def test_a_service_that_leads_to_one_track_alone_cannot_share(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Its selector names the track; and a single pod cannot be shared out."""
    made(control_plane, space, selects={"app": "web", "track": "stable"}, replicas=1)
    with pytest.raises(PlanError, match="does not lead to both tracks"):
        router(control_plane, space).check(ctx)
    control_plane.kubectl("-n", space, "patch", "service", "web", "-p", '{"spec":{"selector":{"track":null}}}')
    with pytest.raises(PlanError, match="cannot be shared out"):
        router(control_plane, space).check(ctx)


def test_a_service_is_turned_and_turned_back(control_plane: Cluster, space: str, ctx: Context, asked: Counting) -> None:
    """Nowhere while no pod is ready there; then every endpoint is of the other track, and the old pods stay."""
    made(control_plane, space, selects={"app": "web", "track": "stable"})
    turn = Service(service="web", name="web", context=control_plane.context, namespace=space)
    assert ("open" in turn.check(ctx)[0], 0) == (True, turn.weight(ctx))
    with pytest.raises(HostError, match="would lead nowhere"):
        turn.set_weight(ctx, 100)
    workload(control_plane, space).set_track(ctx, CANDIDATE, {"version": "shop:2", "replicas": 3})
    begun = len(asked.asked)
    turn.set_weight(ctx, 100)
    assert len(asked.asked) - begun <= 8, asked.asked[begun:]
    assert (100, (0, 3)) == (turn.weight(ctx), counts(control_plane, space))
    assert 6 == len(images(control_plane, space))
    turn.set_weight(ctx, 0)
    turn.set_weight(ctx, 0)
    assert (0, (3, 0)) == (turn.weight(ctx), counts(control_plane, space))
    with pytest.raises(PlanError, match="all requests or none"):
        turn.set_weight(ctx, 50)
    control_plane.kubectl("-n", space, "patch", "service", "web", "-p", '{"spec":{"selector":{"track":"blue"}}}')
    with pytest.raises(PlanError, match="neither track"):
        turn.check(ctx)


def test_by_hand_does_the_same(control_plane: Cluster, space: str, ctx: Context, tmp_path: Any) -> None:
    """The commands that a failed undo leaves to a person make the same of the cluster."""
    made(control_plane, space, selects={"app": "web", "track": "stable"})
    part = workload(control_plane, space, patience=timedelta(minutes=1))
    turn = Service(service="web", name="web", context=control_plane.context, namespace=space)

    def shell(command: str) -> None:
        place = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig)}
        done = subprocess.run(["sh", "-c", command], env=place, capture_output=True, text=True, timeout=60, check=False)
        assert 0 == done.returncode, (command, done.stderr)

    shell(part.by_hand(STABLE, {"version": "shop:2"}))
    assert {"version": "shop:2", "replicas": 3} == part.track(ctx, STABLE)
    shell(part.by_hand(STABLE, {"replicas": 2}))
    part.set_track(ctx, CANDIDATE, {"version": "shop:3", "replicas": 2})
    shell(turn.by_hand(100))
    assert 100 == turn.weight(ctx)
    shell(turn.by_hand(0))
    assert 0 == turn.weight(ctx)
    shell(part.by_hand(CANDIDATE, None))
    assert part.track(ctx, CANDIDATE) is None
