"""Everything else over the API: who one is, the runbooks, the sources, and the document of it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sretoolkit.runbook.access import ROLES
from sretoolkit.server.answers import data
from sretoolkit.server.api import provisioning, runs
from sretoolkit.server.api.openapi import document
from sretoolkit.server.api.operation import Call, Operation, route, shape, some
from sretoolkit.server.guard import visit_of
from sretoolkit.server.pages.runbooks import about, described, find
from sretoolkit.server.pages.sources import SourceHealth
from sretoolkit.server.site import Site

_ME = shape(who="string")
_BOOK = shape(name="string")
_BOOKS = shape(runbooks=some(_BOOK))
_REPORT = shape(title="string", ok="boolean")


def _me(call: Call) -> Any:
    return {
        "who": call.person.actor.principal,
        "via": call.person.actor.via,
        "groups": sorted(call.person.groups),
        "csrf": call.csrf,
    }


def _books(call: Call) -> Any:
    return {"runbooks": described(call.site, call.person)}


def _book(call: Call) -> Any:
    found = find(call.site, call.person, call.path["name"])
    role = call.site.access.role(call.person, found.name)
    assert role in ROLES
    return {**about(found), "hash": found.hash, "role": role, "schema": found.parameters.schema()}


def routes(site: Site, health: SourceHealth) -> list[Route]:
    """All routes of the API."""

    def sources(call: Call) -> Any:
        report, age = health.report()
        return {
            **report.to_dict(),
            "ok": report.ok and bool(call.site.config.names("sources")),
            "age_seconds": round(age, 1),
        }

    operations: Sequence[Operation] = (
        *runs.OPERATIONS,
        Operation("GET", "/api/v1/me", "me", "Who one is, and what a page's forms prove themselves with.", _me, _ME),
        Operation("GET", "/api/v1/runbooks", "listRunbooks", "The runbooks that one may see.", _books, _BOOKS),
        Operation("GET", "/api/v1/runbooks/{name}", "showRunbook", "One runbook, with its parameters' schema.", _book, _BOOK),
        Operation("GET", "/api/v1/sources", "sources", "How the monitoring systems are.", sources, _REPORT),
        *provisioning.OPERATIONS,
    )  # fmt: skip

    def openapi(request: Request) -> Response:
        person = visit_of(request.scope).person
        assert person is not None
        return data(document(operations, site, person))

    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route("/api/openapi.json", openapi), *(route(path, found, site) for path, found in by_path.items())]
