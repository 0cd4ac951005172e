"""What is decided about objects of a cluster without one: names, labels, copies, shares, quantities, words."""

from __future__ import annotations

from typing import Any

import pytest

from sretoolkit.errors import ConfigError, PlanError
from sretoolkit.rollout.kubernetes import pods, template, tracks
from sretoolkit.rollout.kubernetes.quantities import quantity, share_of
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.routers.replicas import Replicas, shared
from sretoolkit.rollout.routers.service import Service
from sretoolkit.rollout.workload import BASELINE, CANDIDATE, STABLE, Workload
from sretoolkit.rollout.workloads.kubernetes import Kubernetes


def deployment(labels: dict[str, str], *, env: Any = (), **meta: Any) -> dict[str, Any]:
    """One as the API gives it."""
    spec = {"containers": [{"name": "app", "image": "shop:1", "env": list(env)}]}
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", **meta},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
        "status": {"replicas": 3},
    }


@pytest.mark.parametrize(
    ("labels", "label", "expected"),
    [
        ({"app": "web", "track": "stable"}, "track", ("stable", "candidate", "baseline")),
        ({"app": "web"}, "track", ("", "candidate", "baseline")),
        ({"app": "web"}, "app", ("web", "web-candidate", "web-baseline")),
    ],
)
def test_tracks_differ_by_one_label(labels: dict[str, str], label: str, expected: tuple[str, ...]) -> None:
    """Where the stable selector names it, no selector takes the pods of two tracks."""
    assert expected == tuple(tracks.value(labels, label, track) for track in (STABLE, CANDIDATE, BASELINE))
    copies = [
        template.copied(deployment(labels), name=f"web-{track}", label=label, track=track, replicas=1)
        for track in (CANDIDATE, BASELINE)
    ]
    everyone = [deployment(labels), *copies]
    for one in copies:
        takers = [each for each in everyone if tracks.selects(tracks.chosen(each), tracks.labels_of(one))]
        assert one in takers
        assert len(takers) == 1 + (label not in labels)


def test_a_copy_is_nobody_elses() -> None:
    """No uid, version, owner, status or record of kubectl goes along; the mark says whose track it is."""
    record = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"}
    found = deployment({"app": "web"}, annotations=record, ownerReferences=[{"kind": "X"}])
    copy = template.copied(found, name="web-canary", label="track", track=CANDIDATE, replicas=2)
    assert {"apiVersion", "kind", "metadata", "spec"} == set(copy)
    assert {"name", "namespace", "labels", "annotations"} == set(copy["metadata"])
    assert {"team": "shop", tracks.MARK: "web candidate"} == copy["metadata"]["annotations"]
    assert (True, False, True) == (
        template.ours(copy, "web", CANDIDATE),
        template.ours(copy, "web", BASELINE),
        template.ours(found, "web", STABLE),
    )
    assert 3 == found["spec"]["replicas"]
    assert {"app": "web"} == found["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("shop:1.2", "1.2"),
        ("reg:5000/a/shop:V2_x", "v2-x"),
        ("reg:5000/shop", "latest"),
        ("s@sha256:0123456789abcdef", "0123456789ab"),
    ],
)
def test_a_tag_names_what_belongs_to_a_version(image: str, expected: str) -> None:
    """As names of objects may be written."""
    assert expected == template.tag(image)


def test_references_follow_the_version_everywhere() -> None:
    """Volumes, projections, variables and their sources; what belongs to no version stays."""
    spec: dict[str, Any] = {
        "volumes": [
            {"name": "a", "configMap": {"name": "web-1"}},
            {"name": "b", "secret": {"secretName": "key-1"}},
            {"name": "c", "projected": {"sources": [{"configMap": {"name": "web-1"}}, {"secret": {"name": "other"}}]}},
        ],
        "initContainers": [
            {"name": "i", "image": "i:1", "envFrom": [{"configMapRef": {"name": "web-1", "optional": True}}]}
        ],
        "containers": [
            {
                "name": "app",
                "image": "shop:1",
                "env": [
                    {"name": "K", "valueFrom": {"secretKeyRef": {"name": "key-1", "key": "k"}}},
                    {"name": "L", "value": "web-1"},
                ],
            }
        ],
    }
    mine = {"ConfigMap/web": "ConfigMap/web-{version}", "Secret/key": "Secret/key-{version}"}
    old = {"spec": spec}
    new = template.with_version(old, "shop:2", name="", references=mine, label="web")
    assert {("ConfigMap", "web-1"), ("Secret", "key-1"), ("Secret", "other")} == template.refers_to(old)
    assert {("ConfigMap", "web-2"), ("Secret", "key-2"), ("Secret", "other")} == template.refers_to(new)
    assert "web-2" == new["spec"]["initContainers"][0]["envFrom"][0]["configMapRef"]["name"]
    assert "web-1" == new["spec"]["containers"][0]["env"][1]["value"]
    assert old == template.with_version(new, "shop:1", name="", references=mine, label="web")


@pytest.mark.parametrize(
    "wrong", [{"ConfigMap/web": "ConfigMap/web"}, {"web": "web-{version}"}, {"Secret/a": "ConfigMap/a-{version}"}]
)
def test_a_reference_that_does_not_fit_is_refused(wrong: dict[str, str]) -> None:
    """It must name kind and name, and have a place for the version."""
    with pytest.raises(PlanError, match="does not fit"):
        template.versioned(wrong, "shop:1")


@pytest.mark.parametrize(
    ("total", "percent", "expected"),
    [
        (4, 0, (4, 0)),
        (4, 1, (3, 1)),
        (4, 99, (1, 3)),
        (4, 100, (0, 4)),
        (10, 25, (7, 3)),
        (10, 50, (5, 5)),
        (1, 50, (0, 1)),
    ],
)
def test_shares_of_few_pods(total: int, percent: int, expected: tuple[int, int]) -> None:
    """A share that is neither none nor all has a pod of each track; both together are always as many."""
    assert expected == shared(total, percent)


@pytest.mark.parametrize(
    ("text", "expected"), [("250m", 0.25), ("2", 2.0), (3, 3.0), ("1Gi", 2.0**30), ("1e3", 1e3), ("2k", 2e3)]
)
def test_quantities(text: Any, expected: float) -> None:
    """As Kubernetes writes them."""
    assert expected == quantity(text)


def test_shares_are_rounded_as_kubernetes_does() -> None:
    """What may be away is rounded down, what may come on top is rounded up."""
    assert (1, 2, 3) == (share_of("25%", 5, up=False), share_of("25%", 5, up=True), share_of(3, 5, up=False))


def pod(name: str, **status: Any) -> dict[str, Any]:
    """A pod with one container."""
    return {
        "metadata": {"name": name},
        "spec": {"containers": []},
        "status": {"containerStatuses": [{"name": "app", "ready": False, **status}]},
    }


def test_why_pods_are_not_ready() -> None:
    """In the words of the kubelet and the scheduler."""
    waits = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}
    ended = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    crashed = pod("a", **waits, **ended, restartCount=2)
    expected = "pod a, container app: CrashLoopBackOff: back-off 10s (it ended with 137, OOMKilled)"
    assert expected == pods.stuck([pod("b", state={"running": {}}), crashed])
    assert "" == pods.stuck([pod("b", state={"waiting": {"reason": "ContainerCreating"}})])
    assert "pod a, container app: restarted 2 times (it ended with 137, OOMKilled)" == pods.restarted([crashed])
    assert "pod b: app runs and does not become ready" == pods.unready([pod("b", state={"running": {}})])
    lost = pod("c")
    lost["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    ]
    assert "pod c: Unschedulable: 0/3 nodes" == pods.unready([lost])


def test_parts_are_made_again_from_plain_data() -> None:
    """A step of any process holds them as options."""
    given = {"kind": "kubernetes", "name": "web", "namespace": "shop", "patience": "5m", "object": "StatefulSet"}
    again = Workload.of(given)
    assert isinstance(again, Kubernetes)
    assert {**given, "references": {}} == again.to_dict()
    assert ("kubernetes:/shop/StatefulSet/web", "StatefulSet shop/web-canary") == (again.target, again.label(CANDIDATE))
    for kind, cls in (("replicas", Replicas), ("service", Service)):
        assert cls is type(Router.of({"kind": kind, "service": "web", "name": "web"}))
    with pytest.raises(ConfigError, match="no option 'colour'"):
        Router.of({"kind": "service", "service": "web", "name": "web", "colour": "blue"})


def test_commands_for_a_person() -> None:
    """Exact ones, with context and namespace."""
    part = Kubernetes(name="web", context="prod", namespace="shop")
    begin = "kubectl --context prod -n shop"
    status = f"{begin} rollout status deployment/web"
    assert f"{begin} delete deployment/web-canary" == part.by_hand(CANDIDATE, None)
    assert f"{begin} set image deployment/web '*=shop:1' && {status}" == part.by_hand(STABLE, {"version": "shop:1"})
    assert f"{begin} scale deployment/web --replicas=2 && {status}" == part.by_hand(STABLE, {"replicas": 2})
    assert "jq" in part.by_hand(CANDIDATE, {"version": "shop:1", "replicas": 2})
