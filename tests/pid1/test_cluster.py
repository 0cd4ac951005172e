"""What the API alone says of the containers of a cluster, without one: owners, ends, and what cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.cluster import report, survey
from sretoolkit.pid1.workload import RUNTIMES, remedy
from tests.pid1.api_server import ApiServer

_PODS = "/api/v1/namespaces/shop/pods"
_SETS = "/apis/apps/v1/namespaces/shop/replicasets"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    """A server that knows nothing yet."""
    with ApiServer(tmp_path) as running:
        yield running


def _controlled(kind: str, name: str, uid: str = "1") -> list[dict[str, Any]]:
    return [{"kind": kind, "name": name, "uid": uid, "controller": True}]


def _pod(name: str, *, owner: Any = (), status: Any = None, labels: Any = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "shop:1", "command": ["run"], "args": ["-v"], **spec.pop("container", {})}
    state = {"name": "app", "state": {"running": {}}, "restartCount": 0, **(status or {})}
    return {
        "metadata": {"name": name, "namespace": "shop", "ownerReferences": list(owner), "labels": labels or {}},
        "spec": {"containers": [container], **spec},
        "status": {"containerStatuses": [state]},
    }


def _killed(reason: str = "Error", code: int = 137) -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "finishedAt": "2024-05-01T10:00:00Z"}
    return {"restartCount": 1, "lastState": {"terminated": ended}}


def _ask(server: ApiServer, *namespaces: str) -> Any:
    return report("test", namespaces or "shop", kubeconfig=str(server.kubeconfig))


def test_what_a_specification_says_of_a_container(server: ApiServer) -> None:
    """Name, command, grace, stop signal, shared processes and exec probes."""
    probe = {"livenessProbe": {"exec": {"command": ["true"]}}, "lifecycle": {"stopSignal": "SIGUSR1"}}
    first = _pod("a", container=probe, terminationGracePeriodSeconds=5, shareProcessNamespace=True)
    server.answers = {_PODS: [first, _pod("b")], _SETS: []}
    known, plain = (each.container for each in survey("test", "shop", kubeconfig=str(server.kubeconfig)).seen)
    told = known.workload
    assert ("kubernetes", "shop/a/app", "shop:1", ("run", "-v")) == (told.runtime, told.name, told.image, told.command)
    assert ("SIGUSR1", 5.0, True, True) == (told.stop_signal, told.grace, told.shared, told.executes)
    assert (True, True, "Pod/a") == (known.signal_known, known.probed, known.controller)
    usual = plain.workload
    assert ("SIGTERM", 30.0, False, False) == (usual.stop_signal, usual.grace, usual.shared, usual.executes)
    assert (False, False) == (plain.signal_known, plain.probed)


def test_pods_are_grouped_by_their_deployment(server: ApiServer) -> None:
    """By the ReplicaSet's own owner, or by its name where ReplicaSets may not be read."""
    labels = {"pod-template-hash": "abc"}
    pods = [
        _pod(f"web-abc-{n}", owner=_controlled("ReplicaSet", "web-abc", "9"), status=_killed(), labels=labels)
        for n in "12"
    ]
    over = {"metadata": {"uid": "9", "ownerReferences": _controlled("Deployment", "web")}}
    for sets in ([over], 403):
        server.answers = {_PODS: pods, _SETS: sets}
        found = _ask(server)
        finding = next(each for each in found.findings if each.rule == "stop-observed")
        assert "shop/Deployment/web, container app" == finding.subject
        assert "2 of 2 pods (web-abc-1, web-abc-2)" in finding.evidence
        assert [("shop", "Deployment/web", "app", "shop:1", 2)] == [tuple(row[:5]) for row in found.tables[0].rows]


@pytest.mark.parametrize(
    ("status", "probe", "severity"),
    [
        (_killed(), {}, "medium"),
        (_killed(), {"livenessProbe": {"httpGet": {}}}, "high"),
        (_killed("OOMKilled"), {}, None),
        (_killed(code=143), {}, None),
        ({}, {}, None),
    ],
)
def test_the_ledger_counts_those_who_were_killed(
    server: ApiServer, status: Any, probe: Any, severity: str | None
) -> None:
    """Exit code 137, but not for memory; worse where the kubelet itself restarts the container."""
    server.answers = {_PODS: [_pod("a", status=status, container=probe)], _SETS: []}
    found = [each.severity for each in _ask(server).findings if each.rule == "stop-observed"]
    assert found == ([severity] if severity else [])


def test_no_grace_period_is_found(server: ApiServer) -> None:
    """Such a container is killed at once."""
    server.answers = {_PODS: [_pod("a", terminationGracePeriodSeconds=0)], _SETS: []}
    assert "grace-none" in {finding.rule for finding in _ask(server).findings}


def test_a_namespace_that_is_forbidden_does_not_hide_the_others(server: ApiServer) -> None:
    """What could not be asked is a finding; so is that nobody looked inside."""
    server.answers = {_PODS: [_pod("a")], _SETS: [], "/api/v1/namespaces/secret/pods": 403}
    found = _ask(server, "shop", "secret")
    said = {
        finding.summary.partition(":")[0]: finding.severity for finding in found.findings if finding.rule == "blind"
    }
    assert said == {"the pods of secret are not known": "medium", "nobody looked inside the pods": "low"}
    assert (found.facts["containers"], found.ok) == (1, False)


def test_a_context_that_is_not_there_is_refused(server: ApiServer) -> None:
    """With what to do next."""
    with pytest.raises(ConfigError, match="'none' cannot be used"):
        report("none", kubeconfig=str(server.kubeconfig))


def test_cures_are_told_in_the_words_of_kubernetes() -> None:
    """Each word can be filled in."""
    assert {"containerd", "kubernetes"} <= set(RUNTIMES)
    for name in ("containerd", "kubernetes"):
        for fix, text in RUNTIMES[name].words.items():
            assert "{what}" not in text.format_map({"what": "x", "signal": "y", "name": "z"}), fix
    assert "shareProcessNamespace" in remedy("init")
