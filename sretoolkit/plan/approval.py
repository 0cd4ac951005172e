"""Approvals: a person other than the one who asks says yes to exactly this plan, for a limited time, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import ApprovalRequired, PlanError
from sretoolkit.journal import Journal, Run
from sretoolkit.plan.session import Session
from sretoolkit.store import Store

VALID_FOR = timedelta(hours=8)


def approve(
    store: Store,
    run: Run,
    *,
    actor: Actor,
    config: Config,
    self_approval: bool | None = None,
    valid_for: timedelta = VALID_FOR,
) -> str:
    """Approve what a waiting run has planned; returns the plan's hash.

    ``self_approval`` None is as the run's runbook says.

    Raises `PlanError` when the run does not wait, or when this actor may not approve it.
    """
    if run.state != "awaiting_approval" or not run.plan_hash:
        raise PlanError(f"run {run.id} does not wait for an approval: it is {run.state}")
    if self_approval is None:
        opened = Journal(store, run.id, actor=actor).entries(kind="run-opened")[0].payload
        self_approval = opened["demands"].get("self_approval", False)
    if reason := refusal(actor, Actor(**run.actor), config, self_approval=self_approval):
        raise PlanError(reason, hint="let somebody else look at the plan: `sretoolkit show RUN`")
    Journal(store, run.id, actor=actor).append(
        "approved", {"plan": run.plan_hash, "approver": actor.to_dict(), "valid_seconds": valid_for.total_seconds()}
    )
    store.write(
        "INSERT INTO approvals (run, plan_hash, approver, at, expires, consumed) "
        "VALUES (:run, :hash, :approver, {now}, {now} + :seconds, NULL)",
        run=run.id, hash=run.plan_hash, approver=actor.principal, seconds=valid_for.total_seconds(),
    )  # fmt: skip
    return run.plan_hash


def refusal(actor: Actor, requester: Actor, config: Config, *, self_approval: bool) -> str:
    """Why this actor may not approve for that requester; "" when nothing speaks against it."""
    approvers = config["approval.approvers"]
    if approvers and actor.principal not in approvers:
        return f"{actor} is not among the approvers ({', '.join(approvers)})"
    if not self_approval and actor.principal == requester.principal:
        return f"{actor} asked for this run and cannot approve it"
    return ""


def consume(session: Session, plan_hash: str) -> None:
    """Use up an approval of this plan, or raise `ApprovalRequired`; a break-glass reason stands in for it, on record."""
    if not session.approval:
        return
    if session.break_glass:
        session.journal.append("break-glass", {"plan": plan_hash, "reason": session.break_glass})
        return
    with session.store.transaction() as transaction:
        transaction.lock(f"approval:{session.run}")
        rows = transaction.execute(
            "SELECT id, plan_hash, approver, expires, {now} AS now FROM approvals "
            "WHERE run = :run AND consumed IS NULL ORDER BY id",
            run=session.run,
        )
        good = [row for row in rows if row["plan_hash"] == plan_hash and row["expires"] > row["now"]]
        if good:
            transaction.execute("UPDATE approvals SET consumed = {now} WHERE id = :id", id=good[-1]["id"])
        else:
            transaction.execute("UPDATE runs SET plan_hash = :hash WHERE id = :run", hash=plan_hash, run=session.run)
    if not good:
        raise ApprovalRequired(
            _why([dict(row) for row in rows], plan_hash), plan_hash=plan_hash, hint=_what_next(session.run)
        )
    session.journal.append("approval-used", {"plan": plan_hash, "approver": good[-1]["approver"]})


def _why(rows: list[dict[str, Any]], plan_hash: str) -> str:
    if any(row["plan_hash"] == plan_hash for row in rows):
        return f"the approval of plan {plan_hash[:12]} has expired"
    if rows:
        approved = rows[-1]["plan_hash"][:12]
        return f"what was approved is plan {approved}; the world has changed and the plan is now {plan_hash[:12]}"
    return f"plan {plan_hash[:12]} needs an approval"


def _what_next(run: str) -> str:
    return (
        f"`sretoolkit show {run}` shows the plan; another person: `sretoolkit approve {run}`; "
        f"then: `sretoolkit run --resume {run}`"
    )
