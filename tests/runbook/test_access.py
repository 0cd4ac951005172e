"""Who may do what: policies by runbook, for people over the network and for users of a shared store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import AccessDenied, ConfigError, JournalError, LeaseError, PlanError
from sretoolkit.journal import Journal, Keys, load_run, open_run
from sretoolkit.lease import Leases, find_leases
from sretoolkit.runbook.access import ROLES, Access, Person
from sretoolkit.runbook.desk import RunDesk
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.run import Order
from sretoolkit.store import Store

POLICIES = {
    "canary_*": {"viewer": ["*"], "operator": ["group:oncall", "user:ann"], "approver": ["lead@example.com"]},
    "canary_big": {"admin": ["boss@example.com"]},
}


def web(identity: str, *groups: str) -> Person:
    """Somebody who logged in with the provider."""
    return Person(Actor("web", identity, "oidc"), frozenset(groups))


def test_a_role_is_held_by_identity_group_user_or_by_anybody() -> None:
    """The highest role counts; without any one is nobody, and a hook is not anybody."""
    access = Access(Config.of(access=POLICIES), shared=True)
    people = {
        "approver": web("lead@example.com"), "operator": web("ben@example.com", "oncall"), "viewer": web("eve@example.com"),
    }  # fmt: skip
    assert list(people) == [access.role(person, "canary_rollout") for person in people.values()]
    assert access.role(Person(Actor("web", "hook:deploy", "hook")), "canary_rollout") is None


def test_the_policy_nearest_to_the_name_holds_alone() -> None:
    """A name's own policy replaces the pattern's: whoever is not in it is nobody."""
    access = Access(Config.of(access=POLICIES), shared=True)
    assert ["admin", None] == [access.role(web(who), "canary_big") for who in ("boss@example.com", "lead@example.com")]


@pytest.mark.parametrize("via", ["local", "token"])
def test_the_local_user_may_do_all_where_nobody_else_has_a_say(via: str) -> None:
    """With a store of their own always; with a shared one where there is no policy, and else as the policy says."""
    config = Config.of(access=POLICIES)
    ann, ben = (Person(Actor(name, "", via)) for name in ("ann", "ben"))
    assert ["admin", "admin"] == [Access(config, shared=False).role(ben, name) for name in ("canary_rollout", "other")]
    shared = Access(config, shared=True)
    assert ["operator", "viewer", "admin"] == [
        shared.role(ann, "canary_rollout"), shared.role(ben, "canary_rollout"), shared.role(ben, "other"),
    ]  # fmt: skip


def test_nobody_else_may_do_anything_without_a_policy() -> None:
    """A runbook without a policy is not even shown."""
    access = Access(Config.of(), shared=False)
    assert [None] * 2 == [access.role(who, "canary_rollout") for who in (web("a@example.com"), web("user:root"))]
    with pytest.raises(AccessDenied, match=r"a@example.com is nobody for x, and this takes the role operator"):
        access.require(web("a@example.com"), "x", "operator")


def test_an_identity_that_looks_like_a_user_is_none() -> None:
    """Who logs in over the network is never a local user, whatever they are called."""
    access = Access(Config.of(access=POLICIES), shared=True)
    assert "viewer" == access.role(web("ann"), "canary_rollout")


@pytest.mark.parametrize("options", [{"operators": ["a"]}, {"operator": "a"}, {"operator": [1]}, {"operator": [""]}])
def test_a_policy_that_cannot_be_read_stops_everything(options: dict[str, object]) -> None:
    """A misspelt role must not become one that nobody has, or everybody."""
    with pytest.raises(ConfigError):
        Access(Config.of(access={"x": options}), shared=True)


def test_at_the_desk_each_does_as_far_as_their_role_goes(
    config: Config, store: Store, write_notebook: Callable[..., Path]
) -> None:
    """Ask, look, tell: refused below the role, and what one may not see is not there."""
    policies = {"adding": {"viewer": ["vic@example.com"], "operator": ["ann@example.com"]}}
    config = Config.of(access=policies, store={"url": store.url}, journal={"keys": config["journal.keys"]})
    found = Runbook.read(write_notebook(("left: int = 1", ["parameters"]), "left", name="adding"))
    order = Order(found, found.parameters.check({}))
    ann, vic, eve = (RunDesk(store, config, web(f"{name}@example.com")) for name in ("ann", "vic", "eve"))

    for desk in (vic, eve):
        with pytest.raises(AccessDenied):
            desk.ask(order)
    asked = ann.ask(order)
    assert asked is not None
    assert {"user": "web", "identity": "ann@example.com", "via": "oidc"} == asked.actor
    open_run(store, Keys.of(config), runbook="adding", actor=Actor(**asked.actor), mode="plan", run=asked.id)
    assert asked.id == vic.load(asked.id).id
    with pytest.raises(JournalError, match="no run"):
        eve.load(asked.id)
    with pytest.raises(AccessDenied):
        vic.control(asked.id, "abort")
    assert asked.id == ann.control(asked.id, "pause")
    with pytest.raises(AccessDenied):
        ann.control(asked.id, "promote")
    with pytest.raises(AccessDenied):
        ann.control("*", "stop")
    Leases(store, asked.id, actor=ann.person.actor, ttl=90).take(["host:web"]).hold()
    with pytest.raises(AccessDenied):
        vic.release("host:web")
    assert "held" == find_leases(store)[0]["state"]
    assert (asked.id, []) == (ann.release("host:web"), find_leases(store))
    assert "lease-released" == Journal(store, asked.id, actor=ann.person.actor).entries()[-1].kind
    with pytest.raises(LeaseError, match="nobody has a lease"):
        ann.release("host:web")


def test_what_was_approved_was_looked_at(config: Config, store: Store) -> None:
    """A plan that changed between reading and approving is not approved."""
    journal = open_run(store, Keys.of(config), runbook="x", actor=Actor("ann"), mode="apply")
    store.write("UPDATE runs SET state = 'awaiting_approval', plan_hash = 'b' WHERE id = :id", id=journal.run)
    desk = RunDesk(store, config, Person(Actor("ben")))
    with pytest.raises(PlanError, match="is another one by now"):
        desk.approve(journal.run, seen="a")
    assert ("b", load_run(store, journal.run).plan_hash) == (desk.approve(journal.run, seen="b")[1], "b")


def test_a_run_that_is_taken_up_again_is_begun_again(config: Config, store: Store) -> None:
    """A run has one request: that to go on replaces the one that began it, and not while it waits to be begun."""
    queue = Queue(store)
    first = Request(id="r1", runbook="x", parameters={}, actor={})
    again = Request(id="r1", runbook="x", parameters={}, actor={}, resume="r1")
    assert [True, False] == [queue.ask(first), queue.ask(again)]
    assert ["r1"] == [asked.request.id for asked in queue.take(5)]
    queue.say("r1", "begun")
    assert [False, True, False] == [queue.ask(first), queue.ask(again), queue.ask(again)]
    assert ["r1"] == [asked.request.resume for asked in queue.take(5)]


def test_roles_are_ordered() -> None:
    """Each role may do what those below it may."""
    assert ("viewer", "operator", "approver", "admin") == ROLES
