"""Patches of workloads as steps, without a cluster: what is refused, what is sent, when a rollout has come to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.pid1.patch import SetCommand, ShareProcesses, insert_tini, share_processes
from sretoolkit.plan import Context, Step
from tests.pid1.api_server import ApiServer

_PATH = "/apis/apps/v1/namespaces/shop/deployments/web"
_WHERE = {"context": "test", "namespace": "shop", "kind": "Deployment", "name": "web"}
_DONE = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """A server with one Deployment, which KUBECONFIG leads to."""
    with ApiServer(tmp_path) as running:
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig))
        running.answers[_PATH] = _deployment()
        yield running


def _deployment(*, status: Any = None, generation: int = 2, pod: Any = None, **meta: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "app", "command": ["sh", "-c", "run"]}, {"name": "bare"}], **(pod or {})}
    about = {"name": "web", "namespace": "shop", "resourceVersion": "7", "generation": generation, **meta}
    body = {"replicas": 1, "template": {"spec": spec}}
    return {"kind": "Deployment", "metadata": about, "spec": body, "status": status or dict(_DONE)}


def _context() -> Context:
    context = Context(config=Config())
    context.start(5)
    return context


def test_a_step_survives_the_journal(server: ApiServer) -> None:
    """Names and values only: from its data comes the same step, with the same target and command to restore."""
    step = insert_tini("test", "shop", "Deployment", "web", "app").steps[0]
    assert isinstance(step, SetCommand)
    back = Step.from_dict(json.loads(json.dumps(step.to_dict())))
    assert back == step
    assert ("sh", "-c", "run") == step.before
    assert ("tini", "-g", "--", "sh", "-c", "run") == step.after
    assert "kubernetes:test/shop/Deployment/web" == step.target
    assert step.by_hand().startswith("kubectl --context test -n shop patch deployment web -p")


def test_the_version_that_was_read_is_the_one_that_is_patched(server: ApiServer) -> None:
    """A conflict with the controller's own writing is tried again; only the field is sent."""
    server.conflicts = 2
    context = _context()
    try:
        ShareProcesses(**_WHERE, before=False, after=True).do(context)
    finally:
        context.close()
    assert 3 == len(server.patches)
    asked = server.patches[-1]
    assert {"resourceVersion": "7"} == asked["metadata"]
    assert {"template": {"spec": {"shareProcessNamespace": True}}} == asked["spec"]


def test_a_field_that_somebody_changed_is_not_written(server: ApiServer) -> None:
    """The step refuses, and shows what it found."""
    server.answers[_PATH] = _deployment(pod={"shareProcessNamespace": True})
    context = _context()
    try:
        with pytest.raises(HostError, match="was changed by somebody else"):
            ShareProcesses(**_WHERE, before=False, after=True).do(context)
    finally:
        context.close()
    assert [] == server.patches


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"labels": {"argocd.argoproj.io/instance": "x"}}, "Argo CD"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"managedFields": [{"manager": "kustomize-controller"}]}, "Flux"),
        ({"ownerReferences": [{"kind": "Shop", "name": "x", "controller": True}]}, "made by Shop x"),
        ({"pod": {"hostPID": True}}, "hostPID"),
    ],
)
def test_what_would_be_taken_back_is_refused(server: ApiServer, change: dict[str, Any], word: str) -> None:
    """With the one who would."""
    server.answers[_PATH] = _deployment(**change)
    with pytest.raises(PlanError, match=word) as caught:
        share_processes("test", "shop", "Deployment", "web")
    assert caught.value.hint


def test_a_command_that_is_the_images_own_cannot_be_kept(server: ApiServer) -> None:
    """The API does not know it; nor a container that is not there, nor a kind that has no template of ours."""
    with pytest.raises(PlanError, match="ENTRYPOINT"):
        insert_tini("test", "shop", "Deployment", "web", "bare")
    with pytest.raises(PlanError, match="no container 'none'"):
        insert_tini("test", "shop", "Deployment", "web", "none")
    with pytest.raises(PlanError, match="cannot be patched here"):
        share_processes("test", "shop", "Job", "web")  # type: ignore[arg-type]


def test_a_rollout_is_watched_to_its_end(server: ApiServer) -> None:
    """The new pods are available and the old ones gone; what an earlier rollout left behind is no failure of this one."""
    stuck = {"reason": "ProgressDeadlineExceeded", "message": "old", "lastUpdateTime": "1"}
    server.answers[_PATH] = _deployment(status={"observedGeneration": 1, "conditions": [stuck]})
    half = _deployment(status={**_DONE, "replicas": 2, "conditions": [stuck]})
    server.events = [{"type": "MODIFIED", "object": each} for each in (half, _deployment())]
    context = _context()
    began = time.monotonic()
    try:
        ShareProcesses(**_WHERE, before=False, after=True).do(context)
    finally:
        context.close()
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("event", "word"),
    [
        ({"type": "DELETED", "object": {}}, "was deleted"),
        ({"type": "MODIFIED", "object": _deployment(generation=3)}, "changed by somebody else during"),
        (
            {
                "type": "MODIFIED",
                "object": _deployment(
                    status={
                        "observedGeneration": 2,
                        "conditions": [{"reason": "ProgressDeadlineExceeded", "message": "new"}],
                    }
                ),
            },
            "does not get on: new",
        ),
    ],
)
def test_a_rollout_that_does_not_come_to_its_end_says_why(server: ApiServer, event: Any, word: str) -> None:
    """Deleted, changed once more, or without progress."""
    server.answers[_PATH] = _deployment(status={"observedGeneration": 1})
    server.events = [event]
    context = _context()
    try:
        with pytest.raises(HostError, match=word):
            ShareProcesses(**_WHERE, before=False, after=True).do(context)
    finally:
        context.close()
