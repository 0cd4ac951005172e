"""Approval: of exactly one plan, by somebody else, for a while, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import ApprovalRequired, PlanError
from sretoolkit.journal import Keys, close_run, load_run
from sretoolkit.lease import find_leases
from sretoolkit.plan import Plan
from sretoolkit.plan.approval import approve
from sretoolkit.plan.session import Session
from sretoolkit.store import Store
from tests.plan.steps import Folder

NewSession = Callable[..., Session]
BOB = Actor("bob")


def ask(plan: Plan, current: Session, keys: Keys) -> None:
    """Run a plan that nobody has approved, as a runbook does: the run waits."""
    with pytest.raises(ApprovalRequired, match="needs an approval"):
        plan.run()
    close_run(current.journal, keys, state="awaiting_approval", exit_code=4)


def test_without_an_approval_nothing_happens(world: Folder, session: NewSession, store: Store, keys: Keys) -> None:
    """DESIGN "Approval": the run awaits it, no lease is kept, the exit code is 4."""
    current = session(approval=True)
    ask(Plan("t", [world.step("a")]), current, keys)

    assert ("old", [], "awaiting_approval") == (world["a"], find_leases(store), load_run(store, current.run).state)
    assert 4 == ApprovalRequired.exit_code


def test_an_approved_plan_runs_once(
    world: Folder, session: NewSession, store: Store, config: Config, keys: Keys
) -> None:
    """DESIGN "Approval": an equal hash proceeds and consumes the approval."""
    current = session(approval=True)
    plan = Plan("t", [world.step("a")])
    ask(plan, current, keys)

    assert plan.hash == approve(store, load_run(store, current.run), actor=BOB, config=config)
    assert "completed" == plan.run().state
    assert [None] != [row["consumed"] for row in store.read("SELECT consumed FROM approvals")]
    assert ["bob"] == [entry.payload["approver"] for entry in current.journal.entries(kind="approval-used")]


def test_another_plan_than_the_approved_one_is_refused_with_the_difference(
    world: Folder, session: NewSession, store: Store, config: Config, keys: Keys
) -> None:
    """DESIGN "Approval": a different hash exits 4 with the difference."""
    current = session(approval=True)
    ask(Plan("t", [world.step("a")]), current, keys)
    approve(store, load_run(store, current.run), actor=BOB, config=config)

    with pytest.raises(ApprovalRequired) as caught:
        Plan("t", [world.step("a"), world.step("b")]).run()
    assert "+ write new into b: 'old' -> 'new'" in str(caught.value)
    assert "old" == world["a"]


def test_an_expired_approval_is_none(
    world: Folder, session: NewSession, store: Store, config: Config, keys: Keys
) -> None:
    """DESIGN "Approval": it is stored with an expiry."""
    current = session(approval=True)
    plan = Plan("t", [world.step("a")])
    ask(plan, current, keys)
    approve(store, load_run(store, current.run), actor=BOB, config=config, valid_for=timedelta(seconds=-1))

    with pytest.raises(ApprovalRequired, match="expired"):
        plan.run()


def test_who_asked_cannot_approve(
    world: Folder, session: NewSession, store: Store, config: Config, keys: Keys, actor: Actor
) -> None:
    """The approver differs from the requester; an identity that nobody checked does not make one."""
    current = session(approval=True)
    ask(Plan("t", [world.step("a")]), current, keys)
    run = load_run(store, current.run)

    for disguise in (actor, Actor("alice", identity="bob@example.org")):
        with pytest.raises(PlanError, match="asked for this run"):
            approve(store, run, actor=disguise, config=config)
    assert approve(store, run, actor=actor, config=config, self_approval=True)


def test_only_an_approver_approves(
    world: Folder, session: NewSession, store: Store, config: Config, keys: Keys
) -> None:
    """Where approvers are configured, nobody else may."""
    current = session(approval=True)
    ask(Plan("t", [world.step("a")]), current, keys)
    strict = Config({**config.values, **Config.of(approval={"approvers": ["carol"]}).values})

    with pytest.raises(PlanError, match="not among the approvers"):
        approve(store, load_run(store, current.run), actor=BOB, config=strict)


def test_only_a_waiting_run_is_approved(world: Folder, session: NewSession, store: Store, config: Config) -> None:
    """A run that does not wait has nothing to approve."""
    current = session()

    with pytest.raises(PlanError, match="does not wait"):
        approve(store, load_run(store, current.run), actor=BOB, config=config)


def test_a_forged_approval_row_for_another_plan_does_not_help(
    world: Folder, session: NewSession, store: Store, keys: Keys
) -> None:
    """A step outside the approved plan is refused, whatever stands in the row's name."""
    current = session(approval=True)
    ask(Plan("t", [world.step("a")]), current, keys)
    store.write(
        "INSERT INTO approvals (run, plan_hash, approver, at, expires, consumed) VALUES (:run, 'x', 'bob', 0, {now} + 99, NULL)",
        run=current.run,
    )

    with pytest.raises(ApprovalRequired):
        Plan("t", [world.step("a")]).run()
