"""HTTPRoutes, VirtualServices and canary Ingresses on a real API server: shares, matches, mirrors, and whoever interferes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.errors import HostError, PlanError
from sretoolkit.hosts.cluster import Cluster as Connection
from sretoolkit.hosts.cluster import ClusterError
from sretoolkit.plan import Context
from sretoolkit.plan.step import World
from sretoolkit.rollout.router import Router
from sretoolkit.rollout.steps import SetMatch, SetMirror, SetWeight
from tests.stack.custom_resources import serve
from tests.stack.kubernetes import Cluster, Kubernetes
from tests.stack.rollout_controllers import GatewayController, route_status

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

_OTHER = {"name": "legacy", "port": 80, "weight": 50}
_PATH = {"path": {"type": "PathPrefix", "value": "/shop"}}


@pytest.fixture(scope="module", autouse=True)
def _asked(control_plane: Cluster) -> Iterator[None]:
    """Contexts are those of the cluster, which serves what is routed with."""
    for file in ("httproutes", "virtualservices"):
        serve(control_plane, file)
    with control_plane.chosen():
        yield


@pytest.fixture
def space(control_plane: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with control_plane.namespace("routes") as name:
        yield name


def _route(space: str, *backends: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    rule = {"matches": [_PATH], "backendRefs": list(backends), **more}
    static = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/static"}}],
        "backendRefs": [{"name": "files", "port": 80}],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": space},
        "spec": {"parentRefs": [{"name": "edge"}], "hostnames": ["shop.example"], "rules": [static, rule]},
    }


def _both(stable: int = 1, candidate: int = 0) -> list[dict[str, Any]]:
    return [{"name": "web", "port": 80, "weight": stable}, {"name": "web-canary", "port": 80, "weight": candidate}]


def _service(space: str, **more: Any) -> dict[str, Any]:
    subsets = [("v1", 100), ("v2", 0)]
    route = [{"destination": {"host": "web", "subset": subset}, "weight": weight} for subset, weight in subsets]
    rule = {"name": "main", "match": [{"uri": {"prefix": "/shop"}}], "route": route, "timeout": "3s", **more}
    rest = {"route": [{"destination": {"host": "files"}}]}
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": space},
        "spec": {"hosts": ["shop.example"], "http": [rule, rest]},
    }


def _ingress(space: str, name: str = "web", service: str = "web", **marks: str) -> dict[str, Any]:
    def path(path: str, service: str) -> dict[str, Any]:
        return {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}

    paths = [path("/shop", service), path("/static", "files")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": space,
            "annotations": {"kubernetes.io/ingress.class": "nginx", **marks},
        },
        "spec": {"rules": [{"host": "shop.example", "http": {"paths": paths}}]},
    }


def _gateway(space: str, **more: Any) -> Router:
    return Router.of(
        {"kind": "gateway", "namespace": space, "route": "web", "stable": "web", "candidate": "web-canary", **more}
    )


def _istio(space: str, **more: Any) -> Router:
    subsets = {"stable": "web", "stable_subset": "v1", "candidate": "web", "candidate_subset": "v2"}
    return Router.of({"kind": "istio", "namespace": space, "service": "web", **subsets, **more})


def _nginx(space: str, **more: Any) -> Router:
    return Router.of(
        {
            "kind": "ingress-nginx",
            "namespace": space,
            "ingress": "web",
            "stable": "web",
            "candidate": "web-canary",
            **more,
        }
    )


def _read(cluster: Cluster, space: str, resource: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("-n", space, "get", resource, "-o", "json"))
    return found


def _weights(cluster: Cluster, space: str, resource: str = "httproute/web") -> list[int]:
    spec = _read(cluster, space, resource)["spec"]
    rule = spec["rules"][-1]["backendRefs"] if "rules" in spec else spec["http"][0]["route"]
    return [each.get("weight") for each in rule]


_MADE: list[tuple[Callable[..., dict[str, Any]], Callable[..., Router], str]] = [
    (lambda space: _route(space, *_both()), _gateway, "httproute/web"),
    (_service, _istio, "virtualservice/web"),
]
made = pytest.mark.parametrize(("make", "router", "resource"), _MADE, ids=["gateway", "istio"])


@made
def test_shares_are_written_and_read(
    control_plane: Cluster, space: str, ctx: Context, make: Any, router: Any, resource: str
) -> None:
    """Every share comes about as asked, and twice is as once."""
    control_plane.apply(make(space))
    with_two = router(space)
    seen = []
    for percent in (0, 5, 5, 50, 100, 0):
        with_two.set_weight(ctx, percent)
        seen.append((with_two.weight(ctx), _weights(control_plane, space, resource)))
    whole = [(percent, [100 - percent, percent]) for percent in (5, 5, 50, 100, 0)]
    assert [each[0] for each in seen] == [0, 5, 5, 50, 100, 0]
    assert seen[1:] == whole


@made
def test_a_person_sets_a_share_by_the_command(
    control_plane: Cluster, space: str, ctx: Context, make: Any, router: Any, resource: str
) -> None:
    """The command by hand does what the router does, and nothing else."""
    control_plane.apply(make(space))
    router(space).set_weight(ctx, 30)
    before = _read(control_plane, space, resource)["spec"]
    router(space).set_weight(ctx, 50)
    subprocess.run(["sh", "-c", router(space).by_hand(30)], check=True, capture_output=True, timeout=60)
    assert _read(control_plane, space, resource)["spec"] == before


@made
def test_a_header_leads_to_the_candidate_and_leaves_no_trace(
    control_plane: Cluster, space: str, ctx: Context, make: Any, router: Any, resource: str
) -> None:
    """A match is one more rule before ours, of the same requests and settings, and goes without a trace."""
    control_plane.apply(make(space))
    before = _read(control_plane, space, resource)["spec"]
    step = SetMatch(router=router(space).to_dict(), before=None, after={"header": "X-Canary", "value": "yes"})
    step.do(ctx)
    step.do(ctx)
    assert step.verify(ctx)[0] is World.AFTER
    rules = (
        _read(control_plane, space, resource)["spec"].get("rules")
        or _read(control_plane, space, resource)["spec"]["http"]
    )
    assert len(rules) == 3
    assert router(space).weight(ctx) == 0
    router(space).set_weight(ctx, 5)
    assert step.verify(ctx)[0] is World.AFTER
    router(space).set_weight(ctx, 0)
    step.undo(ctx)
    after = _read(control_plane, space, resource)["spec"]
    for spec in (before, after):
        for rule in spec.get("rules", spec.get("http")):
            for backend in rule.get("backendRefs", rule.get("route")):
                backend["weight"] = 1 if backend.get("weight") else 0  # 1 to 0 and 100 to 0 are the same share
    assert after == before
    assert step.verify(ctx)[0] is World.BEFORE


@made
def test_requests_are_mirrored_whole(
    control_plane: Cluster, space: str, ctx: Context, make: Any, router: Any, resource: str
) -> None:
    """All requests are copied to the candidate, and no longer."""
    control_plane.apply(make(space))
    before = _read(control_plane, space, resource)["spec"]
    step = SetMirror(router=router(space).to_dict(), before=0, after=100)
    step.do(ctx)
    assert step.verify(ctx)[0] is World.AFTER
    assert "irror" in json.dumps(_read(control_plane, space, resource)["spec"])
    step.undo(ctx)
    assert _read(control_plane, space, resource)["spec"] == before


@made
def test_another_actor_s_share_is_seen_and_not_overwritten(
    control_plane: Cluster, space: str, ctx: Context, make: Any, router: Any, resource: str
) -> None:
    """Who changes the spec between our look and our write is not fought; who changes a label is no matter."""
    control_plane.apply(make(space))
    _interfere(ctx, lambda: control_plane.kubectl("-n", space, "label", resource, "team=shop", "--overwrite"))
    router(space).set_weight(ctx, 5)
    assert _weights(control_plane, space, resource) == [95, 5]
    assert _read(control_plane, space, resource)["metadata"]["labels"]["team"] == "shop"
    _interfere(ctx, lambda: subprocess.run(["sh", "-c", router(space).by_hand(40)], check=True, capture_output=True))
    with pytest.raises(HostError, match=r"was changed by kubectl.*/weight is 60, .*/weight is 40") as caught:
        router(space).set_weight(ctx, 25)
    assert "--show-managed-fields" in caught.value.hint
    assert _weights(control_plane, space, resource) == [60, 40]


def _interfere(ctx: Context, act: Callable[[], object]) -> None:
    """Let somebody act just before our next write."""
    connection = Connection.shared(ctx, "")
    patch = connection.patch_json

    def once(*arguments: Any, **options: Any) -> dict[str, Any]:
        connection.patch_json = patch  # type: ignore[method-assign]
        act()
        return patch(*arguments, **options)

    connection.patch_json = once  # type: ignore[method-assign]


def test_the_share_of_other_backends_stays(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Beside a third backend the two share what they have; what cannot be written so is refused, by hand too."""
    control_plane.apply(_route(space, *_both(100), _OTHER))
    router = _gateway(space)
    router.set_weight(ctx, 25)
    assert _weights(control_plane, space) == [75, 25, 50]
    subprocess.run(["sh", "-c", router.by_hand(5)], check=True, capture_output=True, timeout=60)
    assert _weights(control_plane, space) == [95, 5, 50]
    control_plane.apply(_route(space, *_both(10), _OTHER))
    with pytest.raises(PlanError, match="cannot be written beside the other backends"):
        router.set_weight(ctx, 5)
    assert router.achieved(ctx, 10) == 10
    assert _weights(control_plane, space) == [10, 0, 50]


def test_a_weight_is_set_when_the_controller_says_so(control_plane: Cluster, space: str, ctx: Context) -> None:
    """With a controller that writes a status, its word of this generation is waited for."""
    control_plane.apply(_route(space, *_both()))
    router = _gateway(space)
    assert any("no controller writes a status" in line for line in router.check(ctx))
    with GatewayController(control_plane.kubeconfig, space, "web") as controller:
        assert poll(lambda: _read(control_plane, space, "httproute/web").get("status"), timeout=10)
        assert not any("no controller" in line for line in router.check(ctx))
        router.set_weight(ctx, 5)
        found = _read(control_plane, space, "httproute/web")
        told = {each["observedGeneration"] for each in found["status"]["parents"][0]["conditions"]}
        assert told == {found["metadata"]["generation"]}
        controller.reason = "BackendNotFound"
        with pytest.raises(HostError, match="ResolvedRefs is False, BackendNotFound"):
            router.set_weight(ctx, 25)
        with pytest.raises(HostError, match=r"refused by example\.com/gateway"):
            router.check(ctx)


def test_a_weight_that_no_controller_takes_up_is_not_in_effect(
    control_plane: Cluster, space: str, ctx: Context
) -> None:
    """Where the controller has died, the wait ends in time and says so; the weight is not called set."""
    control_plane.apply(_route(space, *_both()))
    _status(ctx, space, route_status(1))
    ctx.start(1.5)
    with pytest.raises(HostError, match="has not taken up the last change"):
        _gateway(space).set_weight(ctx, 5)
    ctx.start(1.5)
    with pytest.raises(HostError, match="has not taken up the last change"):
        _gateway(space).weight(ctx)


def _status(ctx: Context, space: str, status: Mapping[str, Any]) -> None:
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{space}/httproutes/web/status"
    Connection.shared(ctx, "").patch_json(path, [{"op": "add", "path": "/status", "value": status}])


def test_a_killed_weight_is_set_by_calling_again(control_plane: Cluster, space: str, ctx: Context) -> None:
    """A process that is killed while it waits for the controller leaves what a second call completes."""
    control_plane.apply(_route(space, *_both()))
    _status(ctx, space, route_status(1))
    step = SetWeight(router=_gateway(space).to_dict(), before=0, after=25)
    program = (
        "import json, sys; from sretoolkit.config import Config; from sretoolkit.plan import Context, Step;"
        "ctx = Context(config=Config({})); ctx.start(60); Step.from_dict(json.loads(sys.argv[1])).do(ctx)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, json.dumps(step.to_dict())])
    try:
        assert poll(lambda: _weights(control_plane, space) == [75, 25], timeout=30)
        assert child.poll() is None
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout=10)
    with GatewayController(control_plane.kubeconfig, space, "web"):
        step.do(ctx)
        assert step.verify(ctx)[0] is World.AFTER
        step.undo(ctx)
        assert step.verify(ctx)[0] is World.BEFORE


def test_a_part_is_mirrored_only_where_the_server_knows_it(control_plane: Cluster, space: str, ctx: Context) -> None:
    """A release without requestMirror.percent would copy everything: found by a dry run, before anything is written."""
    if not isinstance(control_plane, Kubernetes):
        pytest.skip("somebody else's resources are not changed")
    control_plane.apply(_route(space, *_both()))
    before = _read(control_plane, space, "httproute/web")["spec"]
    with pytest.raises(HostError, match=r"dropped spec.rules\[1\].filters.*requestMirror.percent"):
        _gateway(space).set_mirror(ctx, 10)
    assert _read(control_plane, space, "httproute/web")["spec"] == before
    serve(control_plane, "httproutes-mirror-percent")
    try:
        assert poll(lambda: _mirrored(ctx, space, 10), timeout=30)
        assert _gateway(space).mirror(ctx) == 10
        _gateway(space).set_mirror(ctx, 0)
        assert _read(control_plane, space, "httproute/web")["spec"] == before
    finally:
        serve(control_plane, "httproutes")


def _mirrored(ctx: Context, space: str, percent: int) -> bool:
    try:
        _gateway(space).set_mirror(ctx, percent)
    except HostError:  # the server takes a moment to serve another definition
        return False
    return True


def test_a_part_is_mirrored_by_istio(control_plane: Cluster, space: str, ctx: Context) -> None:
    """The percent stands beside the mirror; a copy for somebody else is not taken away."""
    control_plane.apply(_service(space))
    router = _istio(space)
    router.set_mirror(ctx, 10)
    rule = _read(control_plane, space, "virtualservice/web")["spec"]["http"][0]
    assert (rule["mirror"], rule["mirrorPercentage"]) == ({"host": "web", "subset": "v2"}, {"value": 10})
    router.set_mirror(ctx, 0)
    control_plane.apply(_service(space, mirror={"host": "audit"}))
    with pytest.raises(PlanError, match="copies requests to somebody else"):
        router.set_mirror(ctx, 10)
    assert router.mirror(ctx) == 0


def test_istio_leads_by_a_cookie(control_plane: Cluster, space: str, ctx: Context) -> None:
    """A cookie is a part of a header, and is read again as it was given."""
    control_plane.apply(_service(space))
    router = _istio(space)
    match = {"cookie": "canary.v2", "value": "yes"}
    router.set_match(ctx, match)
    assert router.match(ctx) == match
    assert any("written is not yet one that every proxy has" in line for line in router.check(ctx))
    router.set_match(ctx, None)
    assert router.match(ctx) is None


def test_a_canary_ingress_comes_and_goes(control_plane: Cluster, space: str, ctx: Context) -> None:
    """It is made from the main one with the paths to the service alone, follows the share, and is removed in the end."""
    control_plane.apply(_ingress(space))
    router = _nginx(space)
    step = SetWeight(router=router.to_dict(), before=0, after=5)
    assert step.verify(ctx)[0] is World.BEFORE
    step.do(ctx)
    step.do(ctx)
    found = _read(control_plane, space, "ingress/web-canary")
    marks = found["metadata"]["annotations"]
    paths = [(each["path"], each["backend"]["service"]["name"]) for each in found["spec"]["rules"][0]["http"]["paths"]]
    assert paths == [("/shop", "web-canary")]
    assert marks["nginx.ingress.kubernetes.io/canary"] == "true"
    assert marks["nginx.ingress.kubernetes.io/canary-weight"] == "5"
    assert marks["kubernetes.io/ingress.class"] == "nginx"
    router.set_weight(ctx, 50)
    subprocess.run(["sh", "-c", router.by_hand(5)], check=True, capture_output=True, timeout=60)
    assert step.verify(ctx)[0] is World.AFTER
    step.undo(ctx)
    step.undo(ctx)
    assert "web-canary" not in control_plane.kubectl("-n", space, "get", "ingress")


def test_a_canary_ingress_is_made_by_hand(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Where it is missing, the command makes what the router would make; for no share it removes it."""
    control_plane.apply(_ingress(space))
    router = _nginx(space)
    router.set_weight(ctx, 5)
    ours = _read(control_plane, space, "ingress/web-canary")["spec"]
    subprocess.run(["sh", "-c", router.by_hand(0)], check=True, capture_output=True, timeout=60)
    assert router.weight(ctx) == 0
    subprocess.run(["sh", "-c", router.by_hand(5)], check=True, capture_output=True, timeout=60)
    assert router.weight(ctx) == 5
    assert _read(control_plane, space, "ingress/web-canary")["spec"] == ours


def test_an_ingress_leads_by_header_or_cookie(control_plane: Cluster, space: str, ctx: Context) -> None:
    """The second Ingress stays while a match or a share needs it."""
    control_plane.apply(_ingress(space))
    router = _nginx(space)
    for match in ({"header": "X-Canary", "value": "yes"}, {"cookie": "canary", "value": "always"}):
        router.set_match(ctx, match)
        assert (router.match(ctx), router.weight(ctx)) == (match, 0)
    router.set_weight(ctx, 5)
    router.set_match(ctx, None)
    assert (router.match(ctx), router.weight(ctx)) == (None, 5)
    router.set_weight(ctx, 0)
    assert "web-canary" not in control_plane.kubectl("-n", space, "get", "ingress")
    with pytest.raises(PlanError, match="by a cookie of the value always"):
        router.set_match(ctx, {"cookie": "canary", "value": "yes"})


def test_a_rule_has_one_canary(control_plane: Cluster, space: str, ctx: Context) -> None:
    """Another canary of the same host and path would make ours without effect: refused. The team's own is used and kept."""
    theirs = {"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "0"}
    control_plane.apply(_ingress(space), _ingress(space, "theirs", "web-canary", **theirs))
    with pytest.raises(PlanError, match=r"theirs is a canary of shop\.example/shop already") as caught:
        _nginx(space).check(ctx)
    assert "canary = 'theirs'" in caught.value.hint
    with pytest.raises(PlanError, match="already"):
        _nginx(space).set_weight(ctx, 5)
    router = _nginx(space, canary="theirs")
    router.check(ctx)
    router.set_weight(ctx, 5)
    assert router.weight(ctx) == 5
    router.set_weight(ctx, 0)
    assert "theirs" in control_plane.kubectl("-n", space, "get", "ingress")


def test_a_canary_ingress_changed_by_somebody_else_is_not_removed(
    control_plane: Cluster, space: str, ctx: Context
) -> None:
    """Whoever has changed it since we looked keeps what was written."""
    control_plane.apply(_ingress(space))
    router = _nginx(space)
    router.set_weight(ctx, 5)
    connection = Connection.shared(ctx, "")
    delete = connection.delete

    def late(*arguments: Any, **options: Any) -> dict[str, Any]:
        control_plane.kubectl("-n", space, "annotate", "ingress/web-canary", "note=mine")
        return delete(*arguments, **options)

    connection.delete = late  # type: ignore[method-assign]
    with pytest.raises(HostError, match="changed by somebody else"):
        router.set_weight(ctx, 0)
    assert router.weight(ctx) == 5


@pytest.mark.parametrize(
    ("group", "plural", "wrong"),
    [
        ("gateway.networking.k8s.io/v1", "httproutes", {"/spec/rules/1/backendRefs/0/weight": -1}),
        ("gateway.networking.k8s.io/v1", "httproutes", {"/spec/rules/1/backendRefs/0/weight": "5%"}),
        ("gateway.networking.k8s.io/v1beta1", "httproutes", {"/spec/rules/1/filters": [{"type": "Mirror"}]}),
        ("networking.istio.io/v1", "virtualservices", {"/spec/http/0/route/0/weight": "5"}),
        ("networking.istio.io/v1beta1", "virtualservices", {"/spec/http/0/mirrorPercentage": 10}),
    ],
)
def test_the_server_refuses_what_does_not_fit(
    control_plane: Cluster, space: str, ctx: Context, group: str, plural: str, wrong: dict[str, Any]
) -> None:
    """The definitions hold us to the published fields."""
    control_plane.apply(_route(space, *_both()), _service(space))
    steps = [{"op": "add", "path": path, "value": value} for path, value in wrong.items()]
    with pytest.raises(ClusterError) as caught:
        Connection.shared(ctx, "").patch_json(f"/apis/{group}/namespaces/{space}/{plural}/web", steps)
    assert caught.value.status == 422


def test_what_is_not_served_is_said(control_plane: Cluster, space: str, ctx: Context) -> None:
    """A missing route, and a cluster without such resources, are named."""
    with pytest.raises(HostError, match=f"there is no HTTPRoute {space}/web"):
        _gateway(space).weight(ctx)
    connection = Connection.shared(ctx, "")
    connection.served = lambda *_, **__: ("v1alpha2",)  # type: ignore[method-assign]
    with pytest.raises(
        PlanError, match=r"serves no HTTPRoute of gateway\.networking\.k8s\.io v1 or v1beta1: only v1alpha2"
    ):
        _gateway(space).weight(ctx)
