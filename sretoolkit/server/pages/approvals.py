"""Approvals: what waits for somebody's yes, with the plan, its hash and who asked."""

from __future__ import annotations

from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from sretoolkit.actor import Actor
from sretoolkit.errors import SREToolkitError
from sretoolkit.journal import Run, find_runs
from sretoolkit.plan.approval import refusal
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.server import history
from sretoolkit.server.answers import page
from sretoolkit.server.guard import visit_of
from sretoolkit.server.site import Site

_MOST = 50


class ApprovalPages:
    """``/approvals``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def index(self, request: Request) -> Response:
        """The waiting runs that somebody may see, oldest first: it has waited longest."""
        visit = visit_of(request.scope)
        person = cast(Person, visit.person)
        items = []
        for run in reversed(find_runs(self._site.store, state="awaiting_approval", limit=_MOST)):
            if self._site.access.allows(person, run.runbook, "viewer"):
                history.look(self._site, run.id, person, address=visit.address, what="plan")
                items.append(self._item(person, run))
        return page("approvals.html", visit, items=items, live="/live/runs")

    def _item(self, person: Person, run: Run) -> dict[str, Any]:
        view = history.run_view(self._site, run)
        about = {"awaits": view["awaits"], "proof": view["proof"], "risk": self._risk(run)}
        return {"run": run, **about, "refusal": why_not(self._site, person, run)}

    def _risk(self, run: Run) -> str:
        """What the runbook says of it; "" when it is not there any more, or is another one by now."""
        try:
            found = Runbook.find(run.runbook, self._site.config)
        except SREToolkitError:
            return ""
        return str(found.metadata.get("risk", "")) if found.hash == run.runbook_hash else ""


def why_not(site: Site, person: Person, run: Run) -> str:
    """Why this person cannot approve this run; "" when nothing speaks against it."""
    if run.state != "awaiting_approval":
        return f"it is {run.state}"
    if not site.access.allows(person, run.runbook, "approver"):
        return f"you are no approver of {run.runbook}"
    demands = site.desk(person).demands(run)
    return refusal(person.actor, Actor(**run.actor), site.config, self_approval=demands["self_approval"])
