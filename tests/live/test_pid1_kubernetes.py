"""PID 1 in a real cluster with real pods: found, cured by a patch with undo, and what may not or cannot be seen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import PlanError, StepFailed
from sretoolkit.hosts import connect
from sretoolkit.pid1.cluster import report, survey
from sretoolkit.pid1.look import look
from sretoolkit.pid1.patch import Kind, insert_tini, share_processes
from sretoolkit.pid1.workload import RUNTIMES
from sretoolkit.plan import Plan
from sretoolkit.plan.recovery import reverse
from sretoolkit.plan.session import rejoin
from sretoolkit.report import Finding
from sretoolkit.store import open_store
from tests.live.conftest import ours
from tests.runbook.desk import Desk
from tests.stack.kubernetes import Cluster, Kubernetes

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

_DEAF = ["sh", "-c", "sleep 600; true"]


@pytest.fixture(scope="module", autouse=True)
def _asked(kube: Cluster) -> Iterator[None]:
    """Contexts are those of the cluster."""
    with kube.chosen():
        yield


@pytest.fixture
def own(kube: Cluster) -> Kubernetes:
    """The cluster, where it is one of our own."""
    return ours(kube)


@pytest.fixture
def space(kube: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with kube.namespace("pid1") as name:
        yield name


def _made(kube: Cluster, space: str, name: str, spec: dict[str, Any], *, kind: str = "Deployment", **more: Any) -> None:
    """A workload whose pods are available; ``labels`` are its own."""
    labels = more.pop("labels", {})
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    body = {"selector": {"matchLabels": {"app": name}}, "template": template, **more}
    if kind == "StatefulSet":
        body["serviceName"] = name
    meta = {"name": name, "namespace": space, "labels": labels}
    kube.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": body})
    kube.kubectl("-n", space, "rollout", "status", f"{kind.lower()}/{name}", "--timeout=90s")


def _pod(kube: Cluster, space: str, name: str, spec: dict[str, Any]) -> None:
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space}, "spec": spec})
    kube.kubectl("-n", space, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def _rules(kube: Cluster, space: str, controller: str) -> set[str]:
    found = survey(kube.context, space, execute=True, only=controller)
    return {finding.rule for each in found.seen for finding in each.findings}


def _named(findings: list[Finding], rule: str) -> Finding:
    return next(finding for finding in findings if finding.rule == rule)


def _apply(plan: Plan, config: Config) -> str:
    """The run's id."""
    with open_store(config) as store:
        outcome = plan.run(apply=True, config=config, store=store)
    assert outcome.ok, outcome
    return outcome.run


def _undo(run: str, config: Config) -> None:
    with open_store(config) as store:
        assert reverse(rejoin(store, run, config=config)).run(apply=True, config=config, store=store).ok


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_shared_processes_cure_a_dropped_signal(kube: Cluster, space: str, config: Config, kind: Kind) -> None:
    """Found from inside; patched, rolled out and looked at again it is gone; undone it is as it was."""
    _made(kube, space, "web", kube.pod(kube.container("app", _DEAF)), kind=kind)
    controller = f"{kind}/web"
    assert "stop-dropped" in _rules(kube, space, controller)
    plan = share_processes(kube.context, space, kind, "web", execute=True)
    assert [f"kubernetes:{kube.context}/{space}/{kind}/web"] == [
        step.target for step in plan.steps if hasattr(step, "do")
    ]

    run = _apply(plan, config)

    assert not {"stop-dropped", "reaping-latent"} & _rules(kube, space, controller)
    assert not share_processes(kube.context, space, kind, "web").steps

    _undo(run, config)

    assert "stop-dropped" in _rules(kube, space, controller)
    template = json.loads(kube.kubectl("-n", space, "get", kind.lower(), "web", "-o", "json"))["spec"]["template"]
    assert "shareProcessNamespace" not in template["spec"]


def test_the_runbook_cures_and_takes_back(kube: Cluster, space: str, desk: Desk) -> None:
    """pid1_remedy_kubernetes: applied the pods share their processes, undone they do not; both are on record."""
    desk.environment["KUBECONFIG"] = str(kube.kubeconfig)
    _made(kube, space, "web", kube.pod(kube.container("app", _DEAF)))
    shared = ("-n", space, "get", "deployment/web", "-o", "jsonpath={.spec.template.spec.shareProcessNamespace}")
    arguments = ("run", "pid1_remedy_kubernetes", "-p", f"namespace={space}", "-p", "name=web", "-p", "inside=true")

    done = desk.run(*arguments, "--apply")

    assert (0, "true") == (done.returncode, kube.kubectl(*shared).strip()), done.stdout
    assert 0 == desk.run("undo", desk.last.id, "--apply").returncode
    assert "" == kube.kubectl(*shared).strip()


def test_tini_cures_it_too(kube: Cluster, space: str, config: Config) -> None:
    """The command is kept behind tini, arguments and other containers as they are; undone it is the old one."""
    one = kube.container("app", ["sh", "-c"], args=["sleep 600; true"])
    _made(kube, space, "web", kube.pod(one, kube.container("side", ["tini", "--", "sleep", "600"])), replicas=2)
    found = ("-n", space, "get", "deployment", "web", "-o", "json")
    before = json.loads(kube.kubectl(*found))["spec"]["template"]["spec"]
    run = _apply(insert_tini(kube.context, space, "Deployment", "web", "app", execute=True), config)
    after = json.loads(kube.kubectl(*found))["spec"]["template"]["spec"]
    assert ["tini", "-g", "--", "sh", "-c"] == after["containers"][0]["command"]
    assert before["containers"][0]["args"] == after["containers"][0]["args"]
    assert before["containers"][1] == after["containers"][1]
    assert not insert_tini(kube.context, space, "Deployment", "web", "app").steps
    _undo(run, config)
    assert before == json.loads(kube.kubectl(*found))["spec"]["template"]["spec"]


def test_a_rollout_that_fails_is_taken_back(kube: Cluster, space: str, config: Config) -> None:
    """An image without that program: the new pod never starts, the old one goes on, the command is the old one again."""
    _made(kube, space, "web", kube.pod(kube.container("app", _DEAF)), progressDeadlineSeconds=4)
    plan = insert_tini(kube.context, space, "Deployment", "web", "app", program="/no/such")
    with open_store(config) as store, pytest.raises(StepFailed, match="does not get on"):
        plan.run(apply=True, config=config, store=store)
    path = "jsonpath={.spec.template.spec.containers[0].command} {.status.availableReplicas}"
    assert f"{json.dumps(_DEAF, separators=(',', ':'))} 1" == kube.kubectl(
        "-n", space, "get", "deployment/web", "-o", path
    )


def test_what_somebody_else_changed_is_left_alone(kube: Cluster, space: str, config: Config) -> None:
    """Between the plan and its run: the plan no longer fits the world, and nothing is written."""
    _made(kube, space, "web", kube.pod(kube.container("app", _DEAF)))
    plan = insert_tini(kube.context, space, "Deployment", "web", "app")
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": ["sleep", "600"]}]
    kube.kubectl("-n", space, "patch", "deployment", "web", "--type=json", "-p", json.dumps(change))
    with open_store(config) as store, pytest.raises(PlanError):
        plan.run(apply=True, config=config, store=store)
    path = "jsonpath={.spec.template.spec.containers[0].command}"
    assert '["sleep","600"]' == kube.kubectl("-n", space, "get", "deployment/web", "-o", path)


def test_objects_of_a_repository_are_refused(kube: Cluster, space: str) -> None:
    """What Argo CD or Flux writes would be taken back by them; a paused one would not roll out."""
    spec = kube.pod(kube.container("app", _DEAF))
    _made(kube, space, "argo", spec, labels={"argocd.argoproj.io/instance": "shop"})
    _made(kube, space, "flux", spec, labels={"kustomize.toolkit.fluxcd.io/name": "shop"})
    _made(kube, space, "held", spec)
    kube.kubectl("-n", space, "rollout", "pause", "deployment/held")
    for name, word in (("argo", "Argo CD"), ("flux", "Flux"), ("held", "is paused"), ("none", "not found")):
        with pytest.raises(PlanError, match=word):
            share_processes(kube.context, space, "Deployment", name)


def test_the_free_ledger_sees_who_was_killed(kube: Cluster, space: str) -> None:
    """By the API alone: a restart in place that ended in SIGKILL, but neither one that ended well nor a lack of memory."""
    probe = {
        "livenessProbe": {
            "exec": {"command": ["test", "!", "-e", "/tmp/ill"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        }
    }
    often = {"terminationGracePeriodSeconds": 1}
    _made(kube, space, "deaf", kube.pod(kube.container("app", _DEAF, **probe), **often))
    _made(kube, space, "fine", kube.pod(kube.container("app", ["tini", "-g", "--", "sleep", "600"], **probe), **often))
    hungry = kube.container("app", ["tail", "/dev/zero"], resources={"limits": {"memory": "24Mi"}})
    _pod_without_waiting(kube, space, "hungry", kube.pod(hungry))
    for name in ("deaf", "fine"):
        kube.kubectl("-n", space, "exec", f"deploy/{name}", "--", "touch", "/tmp/ill")

    def ended() -> bool:
        return all(each.container.restarts for each in survey(kube.context, space).seen)

    assert poll(ended, timeout=60, interval=0.5)
    found = report(kube.context, space)
    killed = [finding for finding in found.findings if finding.rule == "stop-observed"]
    assert [f"{space}/Deployment/deaf, container app"] == [finding.subject for finding in killed]
    assert ("high", "observed") == (killed[0].severity, killed[0].proof)
    assert "shareProcessNamespace" in killed[0].remedy


def _pod_without_waiting(kube: Cluster, space: str, name: str, spec: dict[str, Any]) -> None:
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space}, "spec": spec})


def test_what_is_not_seen_is_said(kube: Cluster, space: str) -> None:
    """Nobody looked inside; a pod without a shell; a namespace that has nothing."""
    _pod(kube, space, "bare", kube.pod(kube.pause()))
    assert "nobody looked inside" in _named(list(report(kube.context, space).findings), "blind").summary
    inside = report(kube.context, space, execute=True)
    blind = [finding for finding in inside.findings if "has no shell" in finding.summary]
    assert ([f"{space}/Pod/bare, container bare"], True) == (
        [each.subject for each in blind],
        "debug" in blind[0].remedy,
    )
    assert inside.facts["looked inside"] == 0
    assert report(kube.context, "there-is-none").facts["containers"] == 0


def test_what_is_forbidden_is_said_and_the_rest_kept(own: Kubernetes, space: str) -> None:
    """A service account that may list the pods of one namespace, and execute nothing."""
    _pod(own, space, "web", own.pod(own.container("app", _DEAF)))
    own.kubectl("-n", space, "create", "serviceaccount", "reader")
    own.kubectl("-n", space, "create", "role", "pods", "--verb=get,list", "--resource=pods")
    own.kubectl("-n", space, "create", "rolebinding", "pods", "--role=pods", f"--serviceaccount={space}:reader")
    file = str(own.account("reader", space))
    found = report("", [space, "default"], execute=True, kubeconfig=file)
    assert found.facts["containers"] == 1
    said = [finding.summary for finding in found.findings if finding.rule == "blind"]
    assert any("the pods of default are not known" in each and "forbidden" in each for each in said)
    assert any("what its first process does is unknown" in each and "pods/exec" in each for each in said)
    assert not found.ok


def test_a_server_that_is_down_is_said(own: Kubernetes, space: str) -> None:
    """No containers are known then, which is not the same as none."""
    own.stop_server()
    try:
        found = report(own.context, space)
    finally:
        own.start_server()
    assert [("blind", "medium")] == [(finding.rule, finding.severity) for finding in found.findings]
    assert "does not answer" in found.findings[0].summary


def test_a_node_names_the_containers_of_its_pods(own: Kubernetes, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ctr on the node: a scan of the host knows each first process by namespace, pod and container."""
    monkeypatch.setenv("CONTAINERD_ADDRESS", str(own.place.socket))
    _pod(own, space, "web", own.pod(own.container("app", _DEAF)))
    with connect("localhost", Config()) as host:
        found = look(host)
        name = f"{space}/web/app"
        assert "stop-dropped" in {ruling.finding.rule for ruling in found.about(name)}
        workload = found.named(name).workload
        assert workload is not None
        assert ("kubernetes", tuple(_DEAF), own.image) == (workload.runtime, workload.command, workload.image)
        assert {"kubernetes"} == {each.runtime for each in RUNTIMES["containerd"]().workloads(host)}


def test_containers_of_nobody_else_are_containerds_own(
    own: Kubernetes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What somebody starts with ctr alone has no other name than its own."""
    monkeypatch.setenv("CONTAINERD_ADDRESS", str(own.place.socket))
    ctr = ["ctr", "-a", str(own.place.socket), "-n", "tests"]
    mounts = [
        word for name in ("usr", "etc") for word in ("--mount", f"type=bind,src=/{name},dst=/{name},options=rbind:ro")
    ]
    for words in (
        ["images", "import", str(own.place.folder / "borrowed.tar")],
        ["run", "-d", *mounts, own.image, "lonely", *_DEAF],
    ):
        subprocess.run([*ctr, *words], check=True, capture_output=True, timeout=60)
    try:
        with connect("localhost", Config()) as host:
            found = RUNTIMES["containerd"]().workloads(host)
            assert ["lonely"] == [each.name for each in found if each.runtime == "containerd"]
            assert "stop-dropped" in {ruling.finding.rule for ruling in look(host).about("lonely")}
    finally:
        subprocess.run([*ctr, "tasks", "kill", "-s", "KILL", "lonely"], check=True, capture_output=True, timeout=60)
        remove = [*ctr, "tasks", "delete", "lonely"]
        assert poll(
            lambda: not subprocess.run(remove, check=False, capture_output=True, timeout=60).returncode, timeout=20
        )
        subprocess.run([*ctr, "containers", "delete", "lonely"], check=True, capture_output=True, timeout=60)
