"""Runs: the list, one of them, and what one tells it."""

from __future__ import annotations

from typing import cast, get_args
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from sretoolkit.errors import JournalError, PlanError
from sretoolkit.journal import Run
from sretoolkit.plan.control import EVERY_RUN, Verb, kill_switch
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.queue import Asked
from sretoolkit.runbook.run import Order
from sretoolkit.server import history
from sretoolkit.server.answers import page
from sretoolkit.server.guard import visit_of
from sretoolkit.server.pages.approvals import why_not
from sretoolkit.server.pages.story import sign_of, tell, tell_asked, tone_of
from sretoolkit.server.site import Site

STATES = (
    "running", "awaiting_approval", "completed", "planned", "failed", "gate_failed", "aborted", "held", "lost", "stopped",
    "refused", "undone", "interrupted", "killed", "timed_out",
)  # fmt: skip
RECORD_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


class RunPages:
    """Everything below ``/`` and ``/runs/``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def index(self, request: Request) -> Response:
        """The list, newest first, with what waits to be begun above it."""
        visit = visit_of(request.scope)
        person = cast(Person, visit.person)
        filters = {name: request.query_params.get(name, "").strip()[:200] for name in history.FILTERS}
        shown = history.list_runs(self._site, person, filters, after=request.query_params.get("after", ""))
        given = {name: value for name, value in filters.items() if value}
        older = f"/?{urlencode({**given, 'after': shown.after})}" if shown.after else ""
        first = not given and not request.query_params.get("after")
        return page(
            "runs.html", visit, runs=shown.runs, older=older, filters=filters, given=given, states=STATES, tone=tone_of,
            sign=sign_of, waiting=history.waiting(self._site, person) if first else [], live="/live/runs",
            stopped=kill_switch(self._site.store), may_stop=self._site.access.allows(person, EVERY_RUN, "admin"),
        )  # fmt: skip

    def control_every(self, request: Request) -> Response:
        """Stop every run and let none begin to change anything, or end that."""
        visit = visit_of(request.scope)
        verb: Verb = "resume" if visit.form.get("verb") == "resume" else "stop"
        reason = visit.form.get("reason", "").strip()[:500]
        self._site.desk(cast(Person, visit.person)).control(EVERY_RUN, verb, reason=reason)
        return RedirectResponse("/", 303)

    def show(self, request: Request) -> Response:
        """One run: what happened, and what can be done."""
        visit = visit_of(request.scope)
        person, run_id = cast(Person, visit.person), request.path_params["run"]
        desk = self._site.desk(person)
        try:
            run = desk.load(run_id)
        except JournalError:
            asked = self._asked(person, run_id)
            if asked is None:
                raise
            most = int(self._site.config["serve.most_runs"])
            may = self._may(person, asked.request.runbook)
            return page(
                "asked.html", visit, story=tell_asked(asked, most), asked=asked, may=may, live=f"/live/runs/{run_id}"
            )
        history.look(self._site, run.id, person, address=visit.address, what="page")
        view = history.run_view(self._site, run)
        seen = history.views_of(self._site, run.id) if self._site.access.allows(person, run.runbook, "admin") else None
        asked = self._site.queue.one(run.id)
        return page(
            "run.html", visit, **view, story=tell(run, view), may=self._may(person, run.runbook), seen=seen,
            live=f"/live/runs/{run.id}", tone=tone_of, sign=sign_of, why_not=why_not(self._site, person, run),
            pending=asked is not None and asked.state in ("waiting", "taken"),
        )  # fmt: skip

    def record(self, request: Request) -> Response:
        """The record's page, as it was written: without rights of any kind in the browser."""
        visit = visit_of(request.scope)
        person = cast(Person, visit.person)
        run = self._site.desk(person).load(request.path_params["run"])
        path = history.record_file(self._site, run)
        history.look(self._site, run.id, person, address=visit.address, what="record")
        headers = {
            "content-security-policy": RECORD_POLICY,
            "x-frame-options": "SAMEORIGIN",
            "cache-control": "no-store",
        }
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)

    def control(self, request: Request) -> Response:
        """Tell a running run something."""
        visit = visit_of(request.scope)
        desk = self._site.desk(cast(Person, visit.person))
        run = desk.load(request.path_params["run"])
        form = visit.form
        verb = form.get("verb", "")
        if verb not in get_args(Verb):
            raise PlanError(
                f"{verb[:40]!r} is nothing that a run can be told", hint=f"one of {', '.join(get_args(Verb))}"
            )
        desk.control(run.id, cast(Verb, verb), reason=form.get("reason", "")[:500], subject=form.get("step", "")[:6])
        return self._back(run)

    def approve(self, request: Request) -> Response:
        """Approve exactly the plan that was looked at, and let the run go on."""
        visit = visit_of(request.scope)
        desk = self._site.desk(cast(Person, visit.person))
        run = desk.load(request.path_params["run"])
        seen = visit.form.get("plan", "")
        if not seen:
            raise PlanError("it was not said which plan is approved", hint="use the button beside the plan")
        found, _ = desk.approve(run.id, seen=seen)
        desk.go_on(found)
        return self._back(run)

    def go_on(self, request: Request) -> Response:
        """Take up a run that was stopped or is held."""
        visit = visit_of(request.scope)
        desk = self._site.desk(cast(Person, visit.person))
        run = desk.load(request.path_params["run"], role="operator")
        if run.state not in ("stopped", "held"):
            raise PlanError(f"run {run.id} cannot be taken up: it is {run.state}", hint="look at its page again")
        desk.go_on(run)
        return self._back(run)

    def apply(self, request: Request) -> Response:
        """What was planned, in a run of its own that makes the plan anew and carries it out."""
        visit = visit_of(request.scope)
        desk = self._site.desk(cast(Person, visit.person))
        run = desk.load(request.path_params["run"], role="operator")
        found = Runbook.find(run.runbook, self._site.config)
        if run.state != "planned" or found.hash != run.runbook_hash:
            text = (
                f"run {run.id} is {run.state}"
                if run.state != "planned"
                else f"{run.runbook} was changed since it was planned"
            )
            raise PlanError(f"{text}: there is no plan to apply", hint="plan anew from the runbook's page")
        order = Order(
            found, found.parameters.check(run.parameters), mode="apply", origin="server", ticket=run.ticket,
            irreversible=visit.form.get("irreversible") == "true",
        )  # fmt: skip
        request_ = desk.ask(order)
        assert request_ is not None
        return RedirectResponse(f"/runs/{request_.id}", 303)

    def cancel(self, request: Request) -> Response:
        """Forget a request that waits."""
        visit = visit_of(request.scope)
        person, run = cast(Person, visit.person), request.path_params["run"]
        asked = self._asked(person, run)
        if asked is None:
            raise JournalError(f"no run {run!r} was asked for here", run=run, hint="the list shows what waits")
        self._site.access.require(person, _name(asked.request.runbook), "operator")
        self._site.queue.cancel(run)
        return RedirectResponse("/", 303)

    def _asked(self, person: Person, run: str) -> Asked | None:
        """A request that somebody may see."""
        asked = self._site.queue.one(run)
        visible = asked is not None and self._site.access.allows(person, _name(asked.request.runbook), "viewer")
        return asked if visible else None

    def _may(self, person: Person, runbook: str) -> dict[str, bool]:
        """What the page offers; what is not offered is refused as well."""
        return {
            role: self._site.access.allows(person, _name(runbook), role) for role in ("operator", "approver", "admin")
        }

    def _back(self, run: Run) -> Response:
        return RedirectResponse(f"/runs/{run.id}", 303)


def _name(runbook: str) -> str:
    """A runbook's name, of a request that may have its path."""
    return runbook.rpartition("/")[2].removesuffix(".ipynb")
