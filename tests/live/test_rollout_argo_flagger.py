"""Argo Rollouts and Flagger Canaries on a real API server, with stand-ins for their controllers that write what they document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.cluster import Cluster as Connection
from sretoolkit.hosts.cluster import ClusterError
from sretoolkit.plan import Context
from sretoolkit.plan.step import World
from sretoolkit.rollout.rollout import Rollout
from sretoolkit.rollout.steps import SetTrack
from sretoolkit.rollout.workload import CANDIDATE, STABLE
from sretoolkit.rollout.workloads.argo import Argo
from sretoolkit.rollout.workloads.flagger import Flagger
from tests.stack.custom_resources import serve
from tests.stack.kubernetes import Cluster
from tests.stack.rollout_controllers import ArgoRollouts, FlaggerOperator

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

_PAUSED: list[dict[str, Any]] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]


@pytest.fixture(scope="module", autouse=True)
def _asked(control_plane: Cluster) -> Iterator[None]:
    """Contexts are those of the cluster, which serves Rollouts and Canaries."""
    for file in ("rollouts", "canaries"):
        serve(control_plane, file)
    with control_plane.chosen():
        yield


@pytest.fixture
def space(control_plane: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with control_plane.namespace("driven") as name:
        yield name


def _pods(image: str) -> dict[str, Any]:
    containers = [{"name": "app", "image": image}, {"name": "log", "image": "log:1"}]
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}


def _rollout(space: str, steps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "strategy": {"canary": {"steps": steps}}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web", "namespace": space},
        "spec": {**spec, "template": _pods("shop:1"), **more},
    }


def _canary(space: str, *webhooks: dict[str, str], **more: Any) -> list[dict[str, Any]]:
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": _pods("shop:1")}
    analysis = {"interval": "1m", "threshold": 5, "stepWeight": 10, "maxWeight": 50, "webhooks": list(webhooks)}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    canary = {"targetRef": target, "service": {"port": 80}, "analysis": analysis, **more}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": space}, "spec": spec},
        {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "web", "namespace": space},
            "spec": canary,
        },
    ]


@pytest.fixture
def argo(control_plane: Cluster, space: str, ctx: Context) -> Iterator[Argo]:
    """A healthy Rollout that pauses at its second step."""
    control_plane.apply(_rollout(space, _PAUSED))
    with ArgoRollouts(control_plane.kubeconfig, space, "web"):
        workload = Argo(namespace=space, name="web", container="app")
        assert workload.ended(ctx)[0] == "Healthy"
        yield workload


_GATE = {"name": "gate", "type": "confirm-promotion", "url": "http://loadtester.test/gate/check"}


@pytest.fixture
def operator(control_plane: Cluster, space: str, ctx: Context) -> Iterator[FlaggerOperator]:
    """Flagger with an initialized Canary, whose gate is open."""
    control_plane.apply(*_canary(space, _GATE))
    with FlaggerOperator(control_plane.kubeconfig, space, "web") as running:
        running.gate.set()
        assert Flagger(namespace=space, name="web", container="app").ended(ctx)[0] == "Initialized"
        yield running


def _flagger(space: str) -> Flagger:
    return Flagger(namespace=space, name="web", container="app")


def _images(cluster: Cluster, space: str, resource: str) -> list[str]:
    found = json.loads(cluster.kubectl("-n", space, "get", resource, "-o", "json"))
    return [each["image"] for each in found["spec"]["template"]["spec"]["containers"]]


def _beside(act: Callable[[Context], None]) -> threading.Thread:
    """Act in a thread, with a context of its own."""

    def run() -> None:
        own = Context(config=Config({}))
        own.start(60)
        act(own)
        own.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _promote_once_paused(workload: Argo) -> Callable[[Context], None]:
    def act(own: Context) -> None:
        assert poll(lambda: workload.phase(workload.object.read(own))[0] == "Paused", timeout=30)
        workload.promote(own)

    return act


def test_a_rollout_is_promoted_at_its_pause(control_plane: Cluster, space: str, ctx: Context, argo: Argo) -> None:
    """The image is set, the pause is ended by a promotion, and Healthy of the new image ends the wait; other containers stay."""
    thread = _beside(_promote_once_paused(argo))
    step = SetTrack(workload=argo.to_dict(), track=STABLE, before={"version": "shop:1"}, after={"version": "shop:2"})
    step.do(ctx)
    thread.join(timeout=30)
    assert step.verify(ctx)[0] is World.AFTER
    assert argo.phase(argo.object.read(ctx)) == ("Healthy", "")
    assert _images(control_plane, space, "rollout.argoproj.io/web") == ["shop:2", "log:1"]
    step.do(ctx)
    assert [each.version for each in argo.revisions(ctx)] == ["shop:1"]
    with pytest.raises(PlanError, match="stands at no pause"):
        argo.promote(ctx)
    with pytest.raises(PlanError, match="nothing to abort"):
        argo.abort(ctx)


def test_a_rollout_that_fails_says_why_and_goes_back(space: str, ctx: Context, argo: Argo) -> None:
    """Degraded ends the wait at once with the controller's words; the old image is Healthy without any step."""
    step = SetTrack(
        workload=argo.to_dict(), track=STABLE, before={"version": "shop:1"}, after={"version": "shop:broken"}
    )
    with pytest.raises(
        HostError, match=r"shop:broken is Degraded: ProgressDeadlineExceeded: ReplicaSet .* has timed out"
    ):
        step.do(ctx)
    assert "Degraded" in argo.trouble(ctx, STABLE)
    with pytest.raises(PlanError, match="is Degraded"):
        argo.look(ctx, "shop:3")
    assert step.verify(ctx)[0] is World.AFTER  # its spec names the new image: so an undo takes it back
    step.undo(ctx)
    assert step.verify(ctx)[0] is World.BEFORE
    assert argo.trouble(ctx, STABLE) == ""


def test_an_abort_sends_all_back(space: str, ctx: Context, argo: Argo) -> None:
    """An abort at the pause ends the wait of whoever set the image; twice is as once."""

    def act(own: Context) -> None:
        assert poll(lambda: argo.phase(argo.object.read(own))[0] == "Paused", timeout=30)
        argo.abort(own)
        argo.abort(own)

    thread = _beside(act)
    with pytest.raises(HostError, match="Degraded: RolloutAborted"):
        argo.set_track(ctx, STABLE, {"version": "shop:2"})
    thread.join(timeout=30)
    argo.set_track(ctx, STABLE, {"version": "shop:1"})
    assert argo.look(ctx).version == "shop:1"


def test_a_full_promotion_skips_the_pause(space: str, ctx: Context, argo: Argo) -> None:
    """All that is left is skipped, as with --full."""

    def act(own: Context) -> None:
        assert poll(lambda: argo.phase(argo.object.read(own))[0] == "Paused", timeout=30)
        argo.promote(own, full=True)
        argo.promote(own, full=True)

    thread = _beside(act)
    argo.set_track(ctx, STABLE, {"version": "shop:2"})
    thread.join(timeout=30)
    assert argo.ended(ctx) == ("Healthy", "")


def test_a_rollout_that_is_paused_by_hand_is_promoted(
    control_plane: Cluster, space: str, ctx: Context, argo: Argo
) -> None:
    """spec.paused is taken away too."""
    control_plane.kubectl(
        "-n", space, "patch", "rollout.argoproj.io/web", "--type=merge", "-p", '{"spec": {"paused": true}}'
    )

    def act(own: Context) -> None:
        assert poll(lambda: argo.phase(argo.object.read(own)) == ("Paused", "manually paused"), timeout=30)
        argo.promote(own)
        assert poll(lambda: argo.phase(argo.object.read(own)) == ("Paused", "CanaryPauseStep"), timeout=30)
        argo.promote(own)

    thread = _beside(act)
    argo.set_track(ctx, STABLE, {"version": "shop:2"})
    thread.join(timeout=30)
    assert argo.ended(ctx) == ("Healthy", "")


def test_somebody_else_s_image_ends_the_wait(control_plane: Cluster, space: str, ctx: Context, argo: Argo) -> None:
    """Another release in the middle of ours is not fought; more replicas are no matter."""

    def act(own: Context) -> None:
        assert poll(lambda: argo.phase(argo.object.read(own))[0] == "Paused", timeout=30)
        control_plane.kubectl("-n", space, "scale", "rollout.argoproj.io/web", "--replicas=5")
        subprocess.run(
            ["sh", "-c", argo.by_hand(STABLE, {"version": "shop:9"})], check=True, capture_output=True, timeout=60
        )

    thread = _beside(act)
    with pytest.raises(HostError, match="changed by somebody else meanwhile: it is 'shop:9', it was 'shop:2'"):
        argo.set_track(ctx, STABLE, {"version": "shop:2"})
    thread.join(timeout=30)


def test_a_rollout_without_its_controller_ends_in_time(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Where nobody takes the change up, nothing is called healthy, though the old status says so."""
    control_plane.apply(_rollout(space, []))
    workload = Argo(namespace=space, name="web", container="app")
    with pytest.raises(PlanError, match="no controller says"):
        workload.look(ctx)
    with ArgoRollouts(control_plane.kubeconfig, space, "web"):
        assert workload.ended(ctx)[0] == "Healthy"
    ctx.start(1.5)
    with pytest.raises(HostError, match="not healthy in time"):
        workload.set_track(ctx, STABLE, {"version": "shop:2"})
    ctx.start(60)
    with ArgoRollouts(control_plane.kubeconfig, space, "web"):
        workload.set_track(ctx, STABLE, {"version": "shop:2"})
    assert workload.track(ctx, STABLE) == {"version": "shop:2"}


def test_a_rollout_of_the_toolkit_drives_it(space: str, ctx: Context, argo: Argo) -> None:
    """The strategy rolling makes one change of it, and says that a person is waited for."""
    rollout = Rollout.of("web", {"workload": argo.to_dict(), "strategy": {"kind": "rolling"}})
    items = rollout.plan("shop:2", config=Config({})).items
    assert [type(item).__name__ for item in items] == ["SetTrack", "Bake"]
    assert [each.summary for each in argo.look(ctx).findings] == ["it waits for a person at its own step 2"]
    assert argo.track(ctx, CANDIDATE) is None
    with pytest.raises(PlanError, match="only the version can be set"):
        argo.set_track(ctx, CANDIDATE, {"version": "shop:2"})


def test_what_a_rollout_does_not_hold_is_not_set(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Pods that are described elsewhere, a container that cannot be told, and GitOps are refused."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    control_plane.apply(_rollout(space, [], workloadRef=reference))
    with pytest.raises(PlanError, match=r"described by Deployment web \(workloadRef\)"):
        Argo(namespace=space, name="web").look(ctx)
    with pytest.raises(PlanError, match="has 2 containers"):
        Argo(namespace=space, name="web").track(ctx, STABLE)
    control_plane.kubectl("-n", space, "annotate", "rollout.argoproj.io/web", "argocd.argoproj.io/tracking-id=shop")
    with pytest.raises(PlanError, match="managed by Argo CD"):
        Argo(namespace=space, name="web", container="app").look(ctx)


def test_a_canary_is_promoted(control_plane: Cluster, space: str, ctx: Context, operator: FlaggerOperator) -> None:
    """The target's image is set, and it is done once the primary has it and Flagger rests; twice is as once."""
    workload = _flagger(space)
    step = SetTrack(
        workload=workload.to_dict(), track=STABLE, before={"version": "shop:1"}, after={"version": "shop:2"}
    )
    assert workload.look(ctx).version == "shop:1"
    assert [each.summary for each in workload.look(ctx).findings] == [
        "it waits for its webhook gate (confirm-promotion) at http://loadtester.test/gate/check"
    ]
    step.do(ctx)
    step.do(ctx)
    assert step.verify(ctx)[0] is World.AFTER
    assert _images(control_plane, space, "deployment/web-primary") == ["shop:2", "log:1"]
    assert workload.ended(ctx) == ("Succeeded", "Canary analysis completed successfully, promotion finished.")


def test_a_canary_that_fails_says_why_and_goes_back(
    control_plane: Cluster, space: str, ctx: Context, operator: FlaggerOperator
) -> None:
    """Failed ends the wait; a leftover is refused by the next plan, and an old Failed does not fail the next release."""
    workload = _flagger(space)
    step = SetTrack(
        workload=workload.to_dict(), track=STABLE, before={"version": "shop:1"}, after={"version": "shop:broken"}
    )
    with pytest.raises(HostError, match="shop:broken Failed: Canary analysis failed, Deployment scaled to zero"):
        step.do(ctx)
    assert workload.trouble(ctx, STABLE).startswith("Failed: Canary analysis failed")
    with pytest.raises(PlanError, match="still names shop:broken, which was not promoted: shop:1 serves") as caught:
        workload.look(ctx, "shop:2")
    assert "set image deployment/web 'app=shop:1'" in caught.value.hint
    step.undo(ctx)
    assert step.verify(ctx)[0] is World.BEFORE
    assert workload.trouble(ctx, STABLE) == ""
    assert workload.look(ctx, "shop:2").version == "shop:1"
    workload.set_track(ctx, STABLE, {"version": "shop:2"})
    assert _images(control_plane, space, "deployment/web-primary") == ["shop:2", "log:1"]


def test_a_canary_waits_at_its_gate(
    control_plane: Cluster, space: str, ctx: Context, operator: FlaggerOperator
) -> None:
    """Only the webhook promotes: `promote` says which; an abort sets the target back to what serves."""
    workload = _flagger(space)
    operator.gate.clear()
    ctx.start(3)
    with pytest.raises(
        HostError, match=r"not promoted in time.*gates may be closed: http://loadtester\.test/gate/check"
    ):
        workload.set_track(ctx, STABLE, {"version": "shop:2"})
    ctx.start(60)
    assert workload.ended(ctx)[0] == "WaitingPromotion"
    with pytest.raises(PlanError, match="promoted by its webhooks only") as caught:
        workload.promote(ctx)
    assert "http://loadtester.test/gate/check" in caught.value.hint
    operator.gate.set()
    workload.set_track(ctx, STABLE, {"version": "shop:2"})
    operator.gate.clear()
    control_plane.kubectl("-n", space, "set", "image", "deployment/web", "app=shop:3")
    assert poll(lambda: workload.ended(ctx)[0] == "WaitingPromotion", timeout=30)
    workload.abort(ctx)
    workload.abort(ctx)
    assert workload.ended(ctx)[0] == "WaitingPromotion"
    both = [_images(control_plane, space, f"deployment/{name}") for name in ("web", "web-primary")]
    assert both == [["shop:2", "log:1"]] * 2


def test_a_killed_release_is_completed_by_calling_again(control_plane: Cluster, space: str, ctx: Context) -> None:
    """A process that is killed while Flagger has not yet looked leaves what a second call completes, also after a Failed."""
    control_plane.apply(*_canary(space))
    workload = _flagger(space)
    with FlaggerOperator(control_plane.kubeconfig, space, "web"):
        assert workload.ended(ctx)[0] == "Initialized"
        with pytest.raises(HostError, match="Failed"):
            workload.set_track(ctx, STABLE, {"version": "shop:broken"})
        workload.set_track(ctx, STABLE, {"version": "shop:1"})
    step = SetTrack(
        workload=workload.to_dict(), track=STABLE, before={"version": "shop:1"}, after={"version": "shop:2"}
    )
    program = (
        "import json, sys; from sretoolkit.config import Config; from sretoolkit.plan import Context, Step;"
        "ctx = Context(config=Config({})); ctx.start(60); Step.from_dict(json.loads(sys.argv[1])).do(ctx)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, json.dumps(step.to_dict())])
    try:
        assert poll(lambda: _images(control_plane, space, "deployment/web")[0] == "shop:2", timeout=30)
        assert child.poll() is None
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=10)
    with FlaggerOperator(control_plane.kubeconfig, space, "web"):
        step.do(ctx)
    assert _images(control_plane, space, "deployment/web-primary")[0] == "shop:2"


def test_a_canary_that_cannot_be_driven_is_refused(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Suspended, not initialized, or for something else than a Deployment."""
    control_plane.apply(*_canary(space, suspend=True))
    with pytest.raises(PlanError, match="is suspended"):
        _flagger(space).look(ctx)
    control_plane.apply(*_canary(space, suspend=False))
    with pytest.raises(PlanError, match="is not initialized"):
        _flagger(space).look(ctx)
    other = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web"}
    control_plane.apply(*_canary(space, targetRef=other))
    with pytest.raises(PlanError, match="is for the DaemonSet web"):
        _flagger(space).look(ctx)


@pytest.mark.parametrize(
    ("group", "plural", "path", "value"),
    [
        ("argoproj.io/v1alpha1", "rollouts", "/spec/template/spec/containers/0/image", 2),
        ("argoproj.io/v1alpha1", "rollouts", "/spec/replicas", "all"),
        ("flagger.app/v1beta1", "canaries", "/spec/provider", "envoy"),
        ("flagger.app/v1beta1", "canaries", "/spec/targetRef/kind", "StatefulSet"),
        ("flagger.app/v1beta1", "canaries", "/spec/analysis", {"interval": "1m"}),
    ],
)
def test_the_server_refuses_what_does_not_fit(
    control_plane: Cluster, space: str, ctx: Context, group: str, plural: str, path: str, value: object
) -> None:
    """The definitions hold us, and the stand-ins, to the published fields."""
    control_plane.apply(_rollout(space, []), *_canary(space))
    with pytest.raises(ClusterError) as caught:
        Connection.shared(ctx, "").patch_json(
            f"/apis/{group}/namespaces/{space}/{plural}/web", [{"op": "add", "path": path, "value": value}]
        )
    assert caught.value.status == 422
