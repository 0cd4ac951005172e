"""Runbooks: what there is, and the form by which one is planned or applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sretoolkit.errors import ConfigError, ParameterError, RunbookError, SREToolkitError, UnknownRunbook
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.notebook import Runbook, runbook_paths
from sretoolkit.runbook.run import Order
from sretoolkit.runbook.schedule import Schedule
from sretoolkit.server import forms
from sretoolkit.server.answers import page
from sretoolkit.server.guard import visit_of
from sretoolkit.server.site import Site


class RunbookPages:
    """Everything below ``/runbooks``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def index(self, request: Request) -> Response:
        """The runbooks that somebody may see."""
        visit = visit_of(request.scope)
        return page("runbooks.html", visit, runbooks=described(self._site, cast(Person, visit.person)))

    def show(self, request: Request) -> Response:
        """One runbook and its form; ``from``: filled in as an earlier run was."""
        visit = visit_of(request.scope)
        person = cast(Person, visit.person)
        found = find(self._site, person, request.path_params["name"])
        values: dict[str, Any] = {}
        ticket = ""
        if earlier := request.query_params.get("from", ""):
            run = self._site.desk(person).load(earlier)
            values, ticket = run.parameters, run.ticket
        fields = forms.fields_of(found.parameters, self._site.config, values)
        return self._form(request, found, fields, typed={"ticket": ticket})

    def start(self, request: Request) -> Response:
        """Ask for a run, or for runs at certain times; what cannot be used is shown where it was typed."""
        visit = visit_of(request.scope)
        person, form = cast(Person, visit.person), visit.form
        found = find(self._site, person, request.path_params["name"])
        self._site.access.require(person, found.name, "operator")
        if form.get("hash", "") != found.hash:
            raise RunbookError(f"{found.name} was changed since you opened its form", hint="load the form again")
        try:
            values = forms.read_form(found.parameters, form)
        except ParameterError as error:
            blank = forms.fields_of(found.parameters, self._site.config)
            fields = forms.refilled(blank, found.parameters, form, error.faults)
            named = {field.name for field in fields}
            others = [fault for fault in error.faults if fault.partition(":")[0] not in named]
            return self._form(request, found, fields, typed=form, others=others, status=422)
        if form.get("mode", "").startswith("schedule"):
            return self._keep(request, found, values)
        order = Order(
            found, values, mode="apply" if form.get("mode") == "apply" else "plan", origin="server",
            ticket=form.get("ticket", "").strip()[:200], irreversible=form.get("irreversible") == "true",
        )  # fmt: skip
        asked = self._site.desk(person).ask(order)
        assert asked is not None
        return RedirectResponse(f"/runs/{asked.id}", 303)

    def _keep(self, request: Request, found: Runbook, values: dict[str, Any]) -> Response:
        """Add a schedule."""
        visit = visit_of(request.scope)
        person, form = cast(Person, visit.person), visit.form
        try:
            schedule = Schedule.of(
                found, found.parameters.encode(values), self._site.config, apply=form["mode"] == "schedule-apply",
                actor=person.actor.to_dict(), ticket=form.get("ticket", "").strip()[:200],
                cron=form.get("cron", "").strip(), zone=form.get("zone", "").strip() or "UTC",
                name=form.get("schedule", "").strip(),
            )  # fmt: skip
            self._site.desk(person).keep(schedule)
        except (ConfigError, RunbookError) as error:
            fields = forms.refilled(forms.fields_of(found.parameters, self._site.config), found.parameters, form)
            fault = f"{error.message}: {error.hint}" if error.hint else error.message
            return self._form(request, found, fields, typed=form, others=[fault], status=422)
        return RedirectResponse("/schedules", 303)

    def _form(
        self,
        request: Request,
        found: Runbook,
        fields: list[forms.Field],
        *,
        typed: Mapping[str, str],
        others: list[str] | None = None,
        status: int = 200,
    ) -> Response:
        visit = visit_of(request.scope)
        may = self._site.access.allows(cast(Person, visit.person), found.name, "operator")
        wrong = [field for field in fields if field.fault]
        return page(
            "runbook.html", visit, status=status, about=about(found), fields=fields, wrong=wrong, others=others or [],
            typed=typed, hash=found.hash, may=may, prefix=forms.PREFIX,
        )  # fmt: skip


def find(site: Site, person: Person, name: str) -> Runbook:
    """A runbook of the configured folders, by its name alone; for who may not look at it there is none."""
    if name not in runbook_paths(site.config) or not site.access.allows(person, name, "viewer"):
        raise UnknownRunbook(f"there is no runbook {name[:80]!r}", hint="the list has those that you may see")
    return Runbook.find(name, site.config)


def described(site: Site, person: Person) -> list[dict[str, Any]]:
    """What each visible runbook says about itself; one that cannot be read is named too."""
    found = []
    for name, path in runbook_paths(site.config).items():
        if site.access.allows(person, name, "viewer"):
            try:
                found.append({**about(Runbook.read(path)), "error": ""})
            except SREToolkitError as error:
                blank = {"purpose": "", "risk": "", "owner": "", "approval": False}
                found.append({"name": name, "title": name, **blank, "error": error.message})
    return found


def about(runbook: Runbook) -> dict[str, Any]:
    """Name, title, purpose, risk, owner, and whether it takes an approval."""
    said = {key: str(runbook.metadata.get(key, "")) for key in ("purpose", "risk", "owner")}
    return {"name": runbook.name, "title": runbook.title, **said, **runbook.demands}
