"""The API for programs: the same rules as the pages, described by its own document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sretoolkit.journal import find_runs
from sretoolkit.store import Store
from tests.plan.steps import Folder
from tests.server.provider import OpenIdProvider
from tests.server.serving import Served, Visitor


def call(served: Served, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    """One call of a program of the local user; gives status and answer."""
    headers = {"Authorization": f"Bearer {token or served.token}"}
    headers |= {"Content-Type": "application/json"} if body is not None else {}
    answer = Visitor(served.url).send(
        method, path, body=json.dumps(body) if body is not None else None, headers=headers
    )
    return answer.status, json.loads(answer.data)


def test_a_program_asks_follows_and_proves(served: Served) -> None:
    """Ask, look, list, entries and proof, by the token that only the local user can read."""
    status, told = call(
        served, "POST", "/api/v1/runs", {"runbook": "adding", "parameters": {"left": 40}, "ticket": "INC-9"}
    )
    assert (202, "waiting") == (status, told["state"])
    run = served.ended(told["run"])

    shown = call(served, "GET", f"/api/v1/runs/{run.id}")[1]
    assert ("completed", {"left": 40, "right": 2, "note": ""}, "api") == (
        shown["state"],
        shown["parameters"],
        shown["origin"],
    )
    assert "42" in shown["cells"][-1]["text"]
    assert [run.id] == [found["id"] for found in call(served, "GET", "/api/v1/runs?ticket=INC-9")[1]["runs"]]
    entries = call(served, "GET", f"/api/v1/runs/{run.id}/entries?after=1&limit=2")[1]["entries"]
    assert [2, 3] == [entry["seq"] for entry in entries]
    assert call(served, "GET", f"/api/v1/runs/{run.id}/proof")[1]["state"] in ("whole", "unsigned")
    assert "api run" in [view["what"] for view in call(served, "GET", f"/api/v1/runs/{run.id}/views")[1]["views"]]


def test_what_cannot_be_used_is_refused_with_every_fault(served: Served) -> None:
    """Wrong types, unknown names, bodies that are no JSON, another content type, no token: each with its own word."""
    bad = [
        ({"runbook": "adding", "parameters": {"left": "many", "wrong": 1}}, 422, "there is no such parameter"),
        ({"runbook": "adding", "mode": "destroy"}, 422, "mode"),
        ({"runbook": "../../etc/passwd"}, 404, "no runbook"),
        ({"runbook": "adding", "extra": 1}, 422, "extra"),
        ([], 422, "the body"),
    ]
    for body, status, word in bad:
        got, told = call(served, "POST", "/api/v1/runs", body)
        assert (status, True) == (got, word in told["error"]), told
    visitor = Visitor(served.url)
    token = {"Authorization": f"Bearer {served.token}"}
    kinds = [
        visitor.send("POST", "/api/v1/runs", body=b"{", headers={**token, "Content-Type": "application/json"}).status,
        visitor.send(
            "POST", "/api/v1/runs", body=b"[" * 100_000, headers={**token, "Content-Type": "application/json"}
        ).status,
        visitor.send("POST", "/api/v1/runs", body=b"{}", headers={**token, "Content-Type": "text/plain"}).status,
        visitor.send("POST", "/api/v1/runs", body=b"{}", headers={"Content-Type": "application/json"}).status,
        visitor.send("GET", "/api/v1/runs", headers={"Authorization": "Bearer wrong"}).status,
        visitor.send("GET", "/api/v1/runs?sort=up", headers=token).status,
    ]
    assert [422, 422, 415, 401, 401, 422] == kinds
    with Store(served.config["store.url"]) as store:
        assert [] == find_runs(store, runbook="adding")


def test_the_document_has_every_runbook_s_parameters(served: Served) -> None:
    """A client generated from it knows what a run takes."""
    document = call(served, "GET", "/api/openapi.json")[1]
    schema = document["components"]["schemas"]["parameters.adding"]
    assert ("3.1.0", ["left"], "integer") == (
        document["openapi"],
        schema["required"],
        schema["properties"]["left"]["type"],
    )
    assert {"get", "post"} == set(document["paths"]["/api/v1/runs"])


def test_provisioning_commands_are_planned_and_applied(served: Served) -> None:
    """Each declared command has its schema; a plan changes nothing, apply does; both are runs on record."""
    commands = {each["name"]: each for each in call(served, "GET", "/api/v1/provision")[1]["commands"]}
    example = commands["create-tag"]["example"]
    planned = call(served, "POST", "/api/v1/provision/create-tag", {"arguments": example})
    applied = [
        call(served, "POST", "/api/v1/provision/create-tag", {"arguments": example, "mode": "apply"})[1]["state"]
        for _ in range(2)
    ]
    assert ((200, "planned"), ["completed", "completed"]) == ((planned[0], planned[1]["state"]), applied)
    assert 422 == call(served, "POST", "/api/v1/provision/create-tag", {"arguments": {"nam": "x"}})[0]
    assert 404 == call(served, "POST", "/api/v1/provision/explode", {"arguments": {}})[0]
    with Store(served.config["store.url"]) as store:
        runs = [run for run in find_runs(store) if run.runbook.startswith("provision create-tag")]
    assert [("completed", "api", "token"), ("planned", "api", "token")] == [
        (run.state, run.origin, run.actor["via"]) for run in runs
    ]


def test_a_page_s_session_may_use_the_api_with_its_own_proof(
    team: Served, provider: OpenIdProvider, world: Folder
) -> None:
    """A session's cookie alone does not start anything; with the session's word it does, as that person and their role."""
    ann = Visitor(team.url).log_in(provider, "ann@example.com")
    csrf = json.loads(ann.get("/api/v1/me").data)["csrf"]
    body = json.dumps({"runbook": "adding", "parameters": {"left": 1}})
    kind = {"Content-Type": "application/json"}
    assert 403 == ann.send("POST", "/api/v1/runs", body=body, headers=kind).status
    assert 202 == ann.send("POST", "/api/v1/runs", body=body, headers={**kind, "X-CSRF-Token": csrf}).status
    other = json.dumps({"runbook": "change", "parameters": {"folder": str(world.path)}})
    assert 404 == ann.send("POST", "/api/v1/runs", body=other, headers={**kind, "X-CSRF-Token": csrf}).status
    assert [] == json.loads(ann.get("/api/v1/provision").data)["commands"]
    assert "parameters.change" not in json.loads(ann.get("/api/openapi.json").data)["components"]["schemas"]


@pytest.mark.parametrize(
    "path", ["/runs/{run}/control", "/runs/{run}/approve", "/runs/{run}/cancel", "/logout", "/login/local"]
)
def test_what_changes_something_cannot_be_done_by_looking(served: Served, path: str) -> None:
    """GET and HEAD on an address that changes something are refused, whatever other method a header names."""
    ann = served.local()
    path = path.format(run="20260101-000000-abcdef")
    headers = {"X-HTTP-Method-Override": "POST", "X-Method-Override": "POST"}
    assert [405, 405] == [
        ann.send(method, f"{path}?_method=POST", headers=headers).status for method in ("GET", "HEAD")
    ]
    assert 200 == ann.get("/").status
