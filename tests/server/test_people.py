"""Logging in, roles, and approvals between several people, through a real provider on loopback."""

from __future__ import annotations

import pytest

from sretoolkit.journal import Journal
from sretoolkit.store import Store
from tests.plan.steps import Folder
from tests.server.provider import OpenIdProvider
from tests.server.serving import Served, Visitor, path_of


def person(team: Served, provider: OpenIdProvider, name: str, *groups: str) -> Visitor:
    """Somebody's browser, logged in."""
    return Visitor(team.url).log_in(provider, f"{name}@example.com", *groups)


def test_one_asks_another_approves_and_the_run_goes_on(team: Served, provider: OpenIdProvider, world: Folder) -> None:
    """Who asked cannot approve; another sees plan, hash and who asked; then it goes on by itself, as who asked for it."""
    ann, ben = person(team, provider, "ann"), person(team, provider, "ben", "leads")
    run = ann.start("guarded", mode="apply", folder=str(world.path))
    waiting = team.ended(run)
    assert ("awaiting_approval", "ann@example.com", "oidc") == (
        waiting.state, waiting.actor["identity"], waiting.actor["via"],
    )  # fmt: skip
    ann.get("/approvals")
    assert ("You cannot approve it", True) == (
        "You cannot approve it" if "You cannot approve it" in ann.page else "", "asked for this run" in ann.page,
    )  # fmt: skip
    assert 409 == ann.post(f"/runs/{run}/approve", {"plan": waiting.plan_hash}).status

    ben.get("/approvals")
    assert [] == [
        word for word in (str(waiting.plan_hash), "ann@example.com", "write new into a") if word not in ben.page
    ]
    assert 409 == ben.post(f"/runs/{run}/approve", {"plan": "0" * 64}).status
    assert 303 == ben.post(f"/runs/{run}/approve", {"plan": waiting.plan_hash}).status
    assert "completed" == _after(team, run, "awaiting_approval")
    assert ["new"] * 3 == [world[name] for name in "abc"]
    with Store(team.config["store.url"]) as store:
        entries = Journal(store, run, actor=None).entries()  # type: ignore[arg-type]
    assert ["ben@example.com"] == [entry.payload["approver"] for entry in entries if entry.kind == "approval-used"]
    assert "ann@example.com" == entries[-1].content["actor"]["identity"]


def test_a_role_allows_what_it_says_and_nothing_else(team: Served, provider: OpenIdProvider) -> None:
    """Whoever may look cannot run; whoever is nobody finds nothing, not even that it exists; admins see who looked."""
    ann, vic = person(team, provider, "ann"), person(team, provider, "vic")
    eve, root = person(team, provider, "eve"), person(team, provider, "root")
    run = ann.start("adding", left="1")
    team.ended(run)

    paths = [f"/runs/{run}", f"/runs/{run}/record", f"/live/runs/{run}", "/runbooks/adding"]
    assert [200, 200, 200] == [vic.get(path).status for path in (paths[0], paths[1], paths[3])]
    assert "You may look at this runbook, not run it" in vic.page
    assert 403 == vic.post("/runbooks/adding", {"mode": "plan", "p.left": "1", "hash": "x"}).status
    assert [404] * 4 == [eve.get(path).status for path in paths]
    eve.get("/")
    assert run not in eve.page
    assert 404 == eve.post(f"/runs/{run}/control", {"verb": "abort"}).status
    eve.get("/runbooks")
    assert "There is no runbook that you may see" in eve.page

    vic.get(f"/runs/{run}")
    assert "Who looked at it" not in vic.page
    assert 404 == root.get(f"/runs/{run}").status, "the runbook's own policy holds, not the general one"
    local = team.local()
    local.get(f"/runs/{run}")
    assert [] == [word for word in ("Who looked at it", "vic@example.com", "record") if word not in local.page]


def test_a_runbook_without_a_policy_is_the_local_user_s(
    own_home: object, team: Served, provider: OpenIdProvider
) -> None:
    """``change`` has the general policy, in which ann is nobody."""
    ann = person(team, provider, "ann")
    assert 404 == ann.get("/runbooks/change").status
    assert 200 == team.local().get("/runbooks/change").status


@pytest.mark.parametrize(
    "spoil",
    ["audience", "issuer", "nonce", "expired", "unverified", "reserved", "unsigned", "public-key-as-secret", "key"],
)
def test_a_lie_of_the_provider_logs_nobody_in(team: Served, provider: OpenIdProvider, spoil: str) -> None:
    """A token for somebody else, stale, unsigned or signed by a stranger is refused, and the page says so."""
    provider.spoil = spoil
    ann = Visitor(team.url)
    provider.somebody = {"email": "ann@example.com", "email_verified": True}
    answer = ann.follow(ann.get("/login/provider"))
    assert (403, True) == (answer.status, "the provider was not believed" in ann.page)
    assert 303 == ann.get("/").status


def test_a_visit_to_the_provider_is_good_once_and_in_one_browser(team: Served, provider: OpenIdProvider) -> None:
    """PKCE, state and nonce go out; a stolen answer is of no use in another browser, nor a second time in the same one."""
    ann, eve = Visitor(team.url), Visitor(team.url)
    provider.somebody = {"email": "ann@example.com", "email_verified": True}
    out = ann.get("/login/provider").headers["location"]
    back = Visitor(provider.url).send("GET", out).headers["location"]
    sent = provider.visits[-1]
    assert ("S256", "code", True, True) == (
        sent["code_challenge_method"], sent["response_type"], len(sent["state"]) > 30, len(sent["nonce"]) > 30,
    )  # fmt: skip
    eve.get("/login/provider")
    assert 403 == eve.get(path_of(back)).status
    assert 403 == ann.get(path_of(back)).status, "what somebody else tried is used up"

    out = ann.get("/login/provider").headers["location"]
    back = Visitor(provider.url).send("GET", out).headers["location"]
    assert [303, 403] == [ann.get(path_of(back)).status for _ in range(2)]
    assert 200 == ann.get("/").status


def _after(team: Served, run: str, state: str) -> str:
    """The state of a run once it is another one, and rests."""
    from sretoolkit.clock import poll

    with Store(team.config["store.url"]) as store:
        sql = "SELECT state FROM runs WHERE id = :run"
        assert poll(lambda: store.read(sql, run=run)[0]["state"] not in (state, "running"), timeout=90), team.log[
            -3000:
        ]
        return str(store.read(sql, run=run)[0]["state"])


def test_an_admin_of_everything_stops_everything(team: Served, provider: OpenIdProvider, world: Folder) -> None:
    """Others see that it is, by whom and why; a run that would change something is refused until it is ended."""
    ann, root = person(team, provider, "ann"), person(team, provider, "root")
    assert 403 == ann.post("/control", {"verb": "stop", "reason": "no"}).status
    ann.get("/")
    assert ("Stop everything" in ann.page, "Everything is stopped" in ann.page) == (False, False)
    root.get("/")
    assert "Stop everything" in root.page
    assert 303 == root.post("/control", {"verb": "stop", "reason": "<b>INC-7</b> is on"}).status
    ann.get("/")
    assert [] == [
        word for word in ("Everything is stopped", "root@example.com", "&lt;b&gt;INC-7") if word not in ann.page
    ]
    refused = team.ended(ann.start("guarded", mode="apply", folder=str(world.path)))
    assert "refused" == refused.state
    assert "INC-7" in refused.error
    assert ["old"] * 3 == [world[name] for name in "abc"]

    assert 403 == ann.post("/control", {"verb": "resume"}).status
    assert 303 == root.post("/control", {"verb": "resume"}).status
    ann.get("/")
    assert "Everything is stopped" not in ann.page
