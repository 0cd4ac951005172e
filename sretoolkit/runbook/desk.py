"""What people do with runs, each as far as their role goes: ask for one, tell it something, approve it, look at it.

The command line and the server both do it through here, so that neither has rules of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sretoolkit.actor import Actor
from sretoolkit.config import Config
from sretoolkit.errors import JournalError, PlanError, RunbookError
from sretoolkit.journal import Journal, Keys, Run, load_run
from sretoolkit.journal.runs import sign_head
from sretoolkit.lease import find_leases, release_lease
from sretoolkit.plan.approval import VALID_FOR, approve
from sretoolkit.plan.control import EVERY_RUN, Verb, tell
from sretoolkit.runbook.access import Access, Person, Role
from sretoolkit.runbook.executor import executor_of
from sretoolkit.runbook.queue import Queue
from sretoolkit.runbook.request import Request
from sretoolkit.runbook.resumption import resumed
from sretoolkit.runbook.run import Order
from sretoolkit.runbook.schedule import Schedule
from sretoolkit.runbook.schedules import Schedules
from sretoolkit.store import Store

_NEEDS: dict[Verb, Role] = {
    "stop": "operator", "abort": "operator", "pause": "operator", "resume": "operator", "skip": "operator",
    "promote": "approver",
}  # fmt: skip


@dataclass(frozen=True)
class RunDesk:
    """One person at one store."""

    store: Store
    config: Config
    person: Person

    @property
    def access(self) -> Access:
        """The policies that hold here."""
        return Access(self.config, shared=self.store.shared)

    def load(self, run: str, *, role: Role = "viewer") -> Run:
        """A run by its whole id; for who may not even look at it there is none. Raises `JournalError`, `AccessDenied`."""
        found = load_run(self.store, run)
        if found.id != run or not self.access.allows(self.person, found.runbook, "viewer"):
            raise JournalError(
                f"no run {run!r} in this store", run=run, hint="the list of runs has those that you may see"
            )
        self.access.require(self.person, found.runbook, role)
        return found

    def ask(self, order: Order, *, executor: str = "local", once: str = "") -> Request | None:
        """Ask for a run, which some server begins; None when something with the same ``once`` was asked for before."""
        self.access.require(self.person, order.runbook.name, "operator")
        request = Request.of(replace(order, actor=self.person.actor), self.config)
        return request if Queue(self.store).ask(request, executor=executor, once=once) else None

    def keep(self, schedule: Schedule) -> None:
        """Keep a schedule from now on; raises `ConfigError` for what is wrong with it, `RunbookError` when its name is taken."""
        self.access.require(self.person, schedule.runbook_name, "operator")
        executor_of(schedule.executor, self.config).check()
        Schedules(self.store).add(schedule)

    def control(self, run: str, verb: Verb, *, reason: str = "", subject: str = "") -> str:
        """Tell a running run something ("*": every run); returns its id. Raises `PlanError` when it does not listen."""
        if run == EVERY_RUN:
            self.access.require_everywhere(self.person, "admin")
            tell(self.store, run, verb, actor=self.person.actor, reason=reason)
            return run
        found = load_run(self.store, run)
        self.access.require(self.person, found.runbook, _NEEDS.get(verb, "operator"))
        if found.state != "running":
            raise PlanError(
                f"run {found.id} does not listen: it is {found.state}", hint=f"`sretoolkit show {found.id}`"
            )
        tell(self.store, found.id, verb, actor=self.person.actor, reason=reason, subject=subject)
        return found.id

    def approve(self, run: str, *, valid_for: timedelta = VALID_FOR, seen: str = "") -> tuple[Run, str]:
        """Approve what a waiting run has planned; gives the run and the plan's hash.

        ``seen`` is the hash of the plan that was looked at; raises `PlanError` when it is another one by now.
        """
        found = load_run(self.store, run)
        self.access.require(self.person, found.runbook, "approver")
        if seen and seen != found.plan_hash:
            raise PlanError(f"the plan of run {found.id} is another one by now", hint="look at it again")
        plan = approve(self.store, found, actor=self.person.actor, config=self.config, valid_for=valid_for)
        return found, plan

    def release(self, target: str) -> str:
        """End a lease that is held, or whose time is over, once its target is as it should be; gives the run that had it.

        Raises `LeaseError` when nobody has one, or that run still works on the target.
        """
        for row in find_leases(self.store):
            if row["target"] == target:
                self.access.require(self.person, load_run(self.store, row["run"]).runbook, "operator")
        run = release_lease(self.store, target)
        journal = Journal(self.store, run, actor=self.person.actor)
        journal.append("lease-released", {"by": "hand"}, target=target)
        sign_head(journal, Keys.of(self.config))
        return run

    def go_on(self, run: Run) -> bool:
        """Ask for an approved run to be taken up again, as who asked for it first; False when that was asked for already."""
        queue = Queue(self.store)
        before = queue.one(run.id)
        order = resumed(
            self.store, run, self.config, origin=run.origin, actor=Actor(**run.actor),
            irreversible=before.request.irreversible if before else False,
        )  # fmt: skip
        if order is None:
            raise RunbookError(
                f"run {run.id} is of no notebook", hint=f"`sretoolkit run --resume {run.id}` goes on with it"
            )
        return queue.ask(Request.of(order, self.config))

    def demands(self, run: Run) -> dict[str, Any]:
        """What the runbook asked of this run when it was opened."""
        first = Journal(self.store, run.id, actor=self.person.actor).entries()[0]
        return {"approval": False, "self_approval": False, **first.payload["demands"]}
