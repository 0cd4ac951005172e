"""Schedules: what is run when, what became of it, and letting it rest."""

from __future__ import annotations

from itertools import islice
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sretoolkit.actor import Actor
from sretoolkit.errors import UnknownSchedule
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.schedules import Scheduled, Schedules, at
from sretoolkit.server.answers import page
from sretoolkit.server.guard import visit_of
from sretoolkit.server.pages.story import sign_of, tone_of
from sretoolkit.server.site import Site

_NEXT, _LAST = 3, 5


class SchedulePages:
    """``/schedules``."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._schedules = Schedules(site.store)

    def index(self, request: Request) -> Response:
        """Those whose runbooks somebody may see, by name."""
        visit = visit_of(request.scope)
        person = cast(Person, visit.person)
        shown = [self._item(person, each) for each in self._schedules.find() if self._allows(person, each, "viewer")]
        return page("schedules.html", visit, items=shown, tone=tone_of, sign=sign_of)

    def tell(self, request: Request) -> Response:
        """Pause one, or let it go on."""
        visit = visit_of(request.scope)
        person, name = cast(Person, visit.person), request.path_params["name"]
        found = self._schedules.load(name)
        if not self._allows(person, found, "viewer"):
            raise UnknownSchedule(f"there is no schedule {name!r}", hint="the list has those that you may see")
        self._site.access.require(person, found.schedule.runbook_name, "operator")
        if request.url.path.endswith("/pause"):
            self._schedules.pause(name, f"paused by {person.actor.principal}")
        else:
            self._schedules.resume(name)
        return RedirectResponse("/schedules", 303)

    def _item(self, person: Person, found: Scheduled) -> dict[str, Any]:
        schedule = found.schedule
        ticks = schedule.times.after(at(found.ticked)) if found.state == "active" else ()
        return {
            "scheduled": found, "schedule": schedule, "who": str(Actor(**schedule.actor)),
            "next": [schedule.due(tick).timestamp() for tick in islice(ticks, _NEXT)],
            "last": self._schedules.history(schedule.name, limit=_LAST),
            "may": self._allows(person, found, "operator"),
        }  # fmt: skip

    def _allows(self, person: Person, found: Scheduled, role: Any) -> bool:
        return self._site.access.allows(person, found.schedule.runbook_name, role)
