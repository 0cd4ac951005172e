"""What routers in a cluster write and refuse, told from objects alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from copy import deepcopy
from typing import Any

import pytest

from sretoolkit.errors import ConfigError, PlanError
from sretoolkit.rollout.json_patch import dropped, operations
from sretoolkit.rollout.router import MATCH, MIRROR, SPLIT, WEIGHT, Router
from sretoolkit.rollout.routers._weighted import Shares
from sretoolkit.rollout.routers.gateway import Gateway
from sretoolkit.rollout.routers.ingress_nginx import IngressNginx
from sretoolkit.rollout.routers.istio import Istio
from sretoolkit.rollout.workloads.argo import Argo
from sretoolkit.rollout.workloads.flagger import Flagger

GATEWAY = Gateway(namespace="shop", route="web", stable="web", candidate="web-canary")
ISTIO = Istio(namespace="shop", service="web", stable="web", candidate="web-canary")
NGINX = IngressNginx(namespace="shop", ingress="web", stable="web", candidate="web-canary")


def _route(*rules: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"metadata": {"generation": 1}, "spec": {"rules": [{"backendRefs": list(rule), **more} for rule in rules]}}


def _both(stable: int = 100, candidate: int = 0) -> list[dict[str, Any]]:
    return [{"name": "web", "port": 80, "weight": stable}, {"name": "web-canary", "port": 80, "weight": candidate}]


@pytest.mark.parametrize(
    ("stable", "candidate", "others", "percent", "written"),
    [
        (1, 0, 0, 5, (95, 5)),
        (3, 1, 0, 100, (0, 100)),
        (0, 0, 0, 0, (100, 0)),
        (100, 0, 50, 25, (75, 25)),
        (20, 0, 80, 5, (19, 1)),
        (10, 0, 50, 100, (0, 10)),
    ],
)
def test_weights_for_a_share(stable: int, candidate: int, others: int, percent: int, written: tuple[int, int]) -> None:
    """Alone both have 100 together; beside others they share what they have, so that those keep theirs."""
    shares = Shares(stable=stable, candidate=candidate, others=others)
    assert shares.at(percent) == written
    assert Shares(stable=written[0], candidate=written[1], others=others).percent == percent


@pytest.mark.parametrize(("stable", "candidate", "percent"), [(10, 0, 5), (0, 0, 50), (0, 0, 0)])
def test_a_share_that_cannot_be_written_is_refused(stable: int, candidate: int, percent: int) -> None:
    """Neither a rounded share nor weights that are all zero, which answer with errors, are ever written."""
    with pytest.raises(PlanError, match="cannot be written beside the other backends"):
        Shares(stable=stable, candidate=candidate, others=50).at(percent)


@pytest.mark.parametrize(
    ("stable", "candidate", "percent"), [(1, 0, 0), (0, 1, 100), (999, 1, 1), (1, 999, 99), (2, 1, 33)]
)
def test_a_share_is_none_or_all_only_when_it_is(stable: int, candidate: int, percent: int) -> None:
    """One request in a thousand is not none."""
    assert Shares(stable=stable, candidate=candidate).percent == percent


def test_no_weight_at_all_is_no_share() -> None:
    """Two zeros are a fault of the route, not a share of 0."""
    with pytest.raises(PlanError, match=r"neither .* has any weight"):
        _ = Shares(stable=0, candidate=0).percent


def test_a_backend_without_a_weight_has_the_api_s_own() -> None:
    """1 in an HTTPRoute, none in a VirtualService beside others."""
    bare = _route([{"name": "web", "port": 80}, {"name": "web-canary", "port": 80, "weight": 0}])
    assert GATEWAY.shares(bare) == Shares(stable=1, candidate=0)
    routes = [{"destination": {"host": "web"}, "weight": 100}, {"destination": {"host": "web-canary"}}]
    assert ISTIO.shares({"spec": {"http": [{"route": routes}]}}) == Shares(stable=100, candidate=0)


def test_the_rule_is_told_by_place_or_name() -> None:
    """Of several rules that name both, one has to be said; a rule that does not name both does not count."""
    alone: list[dict[str, Any]] = [{"name": "files", "port": 80}]
    found = _route(alone, _both(), _both(0, 100))
    with pytest.raises(PlanError, match="2 rules of HTTPRoute shop/web name both"):
        GATEWAY.shares(found)
    second = Gateway.of({**GATEWAY.to_dict(), "rule": "1"})
    assert second.shares(found).percent == 100
    found["spec"]["rules"][1]["name"] = "main"
    assert Gateway.of({**GATEWAY.to_dict(), "rule": "main"}).shares(found).percent == 0
    with pytest.raises(PlanError, match="none is rule '7' alone"):
        Gateway.of({**GATEWAY.to_dict(), "rule": "7"}).shares(found)


def test_a_rule_that_does_not_fit_is_refused() -> None:
    """The candidate has to be there, once, as a Service of the namespace."""
    with pytest.raises(PlanError, match="names both the Service web and the Service web-canary") as caught:
        GATEWAY.shares(_route(_both()[:1]))
    assert "web-canary with 0" in caught.value.hint
    elsewhere = [_both()[0], {**_both()[1], "namespace": "other"}]
    with pytest.raises(PlanError, match="names both"):
        GATEWAY.shares(_route(elsewhere))
    with pytest.raises(PlanError, match="twice"):
        GATEWAY.shares(_route([*_both(), {"name": "web", "port": 81}]))


def test_a_match_is_a_rule_of_its_own_and_back() -> None:
    """All but the match and the backend is the chosen rule's; taking it away restores the route to the letter."""
    before = _route([{"name": "files", "port": 80}], _both(95, 5), timeouts={"request": "3s"})
    found = deepcopy(before)
    GATEWAY.lead(found, {"header": "X-Canary", "value": "yes"})
    rule = found["spec"]["rules"][1]
    assert rule["timeouts"] == {"request": "3s"}
    assert rule["matches"][0]["headers"] == [{"type": "Exact", "name": "X-Canary", "value": "yes"}]
    assert [(each["name"], each["weight"]) for each in rule["backendRefs"]] == [("web-canary", 1)]
    again = deepcopy(found)
    GATEWAY.lead(again, {"header": "X-Canary", "value": "yes"})
    assert again == found
    GATEWAY.weigh(found, 50)
    GATEWAY.lead(found, {"header": "X-Canary", "value": "no"})
    assert len(found["spec"]["rules"]) == 3
    GATEWAY.weigh(found, 5)
    GATEWAY.lead(found, None)
    assert found == before


def test_a_team_s_own_rule_to_the_candidate_is_left_alone() -> None:
    """A preview path that leads to the candidate is no match of ours."""
    preview = [{"name": "web-canary", "port": 80}]
    found = _route(preview, _both())
    found["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/preview"}}]
    before = deepcopy(found)
    GATEWAY.lead(found, {"header": "X-Canary", "value": "yes"})
    GATEWAY.lead(found, None)
    assert found == before


def test_other_mirrors_stay() -> None:
    """A copy for somebody else is neither counted nor taken away."""
    audit = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "audit", "port": 80}}}
    before = _route(_both(), filters=[audit])
    found = deepcopy(before)
    GATEWAY.copy(found, 10)
    mirror = found["spec"]["rules"][0]["filters"][1]["requestMirror"]
    assert mirror == {"backendRef": {"name": "web-canary", "port": 80}, "percent": 10}
    GATEWAY.copy(found, 0)
    assert found == before


def test_an_http_route_knows_no_cookies() -> None:
    """It is refused with what to use instead, before anything is asked of a cluster."""
    from sretoolkit.config import Config
    from sretoolkit.plan import Context

    with pytest.raises(PlanError, match="a cookie is none by itself"):
        GATEWAY.set_match(Context(config=Config({})), {"cookie": "canary", "value": "yes"})


def test_what_each_router_can() -> None:
    """The split is seen only where queries tell how to count."""
    counted = Router.of({**GATEWAY.to_dict(), "source": "prod", "stable-requests": "a", "candidate-requests": "b"})
    assert GATEWAY.can == ISTIO.can == {WEIGHT, MATCH, MIRROR}
    assert counted.can == {WEIGHT, MATCH, MIRROR, SPLIT}
    assert NGINX.can == {WEIGHT, MATCH}
    with pytest.raises(ConfigError, match="needs the option 'candidate'"):
        Router.of({"kind": "istio", "service": "web", "stable": "web"})


def _ingress(**marks: str) -> dict[str, Any]:
    annotations = {f"nginx.ingress.kubernetes.io/{key.replace('_', '-')}": value for key, value in marks.items()}
    return {"metadata": {"name": "web-canary", "annotations": annotations}, "spec": {"rules": []}}


@pytest.mark.parametrize(
    ("marks", "percent"),
    [
        ({"canary": "true", "canary_weight": "5"}, 5),
        ({"canary": "true", "canary_weight": "50", "canary_weight_total": "1000"}, 5),
        ({"canary": "true", "canary_weight": "1", "canary_weight_total": "1000"}, 1),
        ({"canary": "true"}, 0),
        ({"canary": "false", "canary_weight": "50"}, 0),
    ],
)
def test_a_share_by_annotations(marks: dict[str, str], percent: int) -> None:
    """Out of the total that the annotation gives; nothing where it is no canary."""
    assert NGINX.share(_ingress(**marks)) == percent


def test_a_total_of_weights_is_kept() -> None:
    """A canary of the team keeps its own total; a share that it cannot express is refused."""
    found = _ingress(canary="true", canary_weight="0", canary_weight_total="1000")
    NGINX.weigh(found, 5)
    assert found["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] == "50"
    with pytest.raises(PlanError, match="5 % of a total weight of 10 is no whole number"):
        NGINX.weigh(_ingress(canary="true", canary_weight="0", canary_weight_total="10"), 5)


def test_an_ingress_without_such_a_path_has_no_canary() -> None:
    """A default backend cannot be shared by a canary."""
    main = {
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "web", "uid": "1"},
        "spec": {"defaultBackend": {}},
    }
    with pytest.raises(PlanError, match="no path of Ingress shop/web leads to the Service web"):
        NGINX.beside(main)


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize("router", [GATEWAY, ISTIO], ids=["gateway", "istio"])
@pytest.mark.parametrize("others", [0, 50])
def test_the_command_by_hand_computes_the_same(router: Gateway | Istio, others: int) -> None:
    """What jq comes to are the weights that the router writes."""
    if isinstance(router, Gateway):
        rest = [{"name": "legacy", "weight": others}] if others else []
        found = _route([{"name": "files"}], [*_both(), *rest])
    else:
        hosts = [("web", 100), ("web-canary", 0), *([("legacy", others)] if others else [])]
        routes = [{"destination": {"host": host}, "weight": weight} for host, weight in hosts]
        found = {"spec": {"http": [{"route": [{"destination": {"host": "files"}}]}, {"route": routes}]}}
    program = router._program(25)
    told = subprocess.run(
        ["jq", program], input=json.dumps(found), capture_output=True, text=True, check=True, timeout=30
    )
    router.weigh(found, 25)
    assert json.loads(told.stdout) == found


def test_commands_by_hand() -> None:
    """They name the context, the namespace, and a version that somebody else's change would make wrong."""
    prod = Gateway.of({**GATEWAY.to_dict(), "context": "prod"})
    command = prod.by_hand(5)
    assert command.startswith(
        "kubectl --context prod -n shop patch httproutes.gateway.networking.k8s.io/web --type=merge"
    )
    assert "resourceVersion: .metadata.resourceVersion" in command
    assert NGINX.by_hand(0) == "kubectl -n shop delete ingresses.networking.k8s.io/web-canary --ignore-not-found"
    argo = Argo(namespace="shop", name="web").by_hand("stable", {"version": "shop:1"})
    assert '.spec.template.spec.containers[0] | .image) = "shop:1"' in argo
    assert Flagger(namespace="shop", name="web").by_hand("stable", {"version": "shop:1"}) == (
        "kubectl -n shop set image deployment/web '*=shop:1'"
    )


def test_the_smallest_patch() -> None:
    """Only what differs; a list of another length as a whole; keys are escaped as RFC 6901 says."""
    old = {"a": [{"w": 1}, {"w": 2}], "m": {"x/y~z": "1", "gone": 1}, "l": [1]}
    new = {"a": [{"w": 1}, {"w": 3}], "m": {"x/y~z": "2"}, "l": [1, 2], "n": None}
    assert operations(old, new) == [
        {"op": "replace", "path": "/a/1/w", "value": 3},
        {"op": "replace", "path": "/m/x~1y~0z", "value": "2"},
        {"op": "remove", "path": "/m/gone"},
        {"op": "replace", "path": "/l", "value": [1, 2]},
        {"op": "add", "path": "/n", "value": None},
    ]
    assert operations(old, deepcopy(old)) == []


def test_what_a_server_drops_is_named() -> None:
    """What it adds is no matter, also a number written otherwise."""
    meant = {"spec": {"rules": [{"weight": 5, "percent": 10}]}}
    assert dropped(meant, {"spec": {"rules": [{"weight": 5.0, "percent": 10, "more": 1}]}, "status": {}}) == ""
    assert dropped(meant, {"spec": {"rules": [{"weight": 5}]}}) == "spec.rules[0].percent"
    assert dropped(meant, {"spec": {"rules": []}}) == "spec.rules"


def _rollout(observed: str, generation: int, **status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": {}, "status": {"observedGeneration": observed, **status}}


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        (_rollout("1", 2, phase="Healthy"), "Progressing"),
        (_rollout("2", 2, phase="Healthy"), "Healthy"),
        (_rollout("", 2, phase="Healthy"), "Progressing"),
        (_rollout("2", 2, phase="Paused", controllerPause=True), "Progressing"),
        (_rollout("2", 2, phase="Paused", controllerPause=True, pauseConditions=[{}]), "Paused"),
        ({"metadata": {"generation": 1}, "spec": {}}, "Progressing"),
    ],
)
def test_the_phase_of_an_argo_rollout(found: dict[str, Any], phase: str) -> None:
    """A phase of an older generation, or of before a promotion, is none."""
    assert Argo(name="web").phase(found)[0] == phase
