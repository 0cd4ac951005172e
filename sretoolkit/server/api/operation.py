"""One operation of the API as a declaration, and a call of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sretoolkit.errors import ParameterError
from sretoolkit.runbook.access import Person
from sretoolkit.server.answers import data
from sretoolkit.server.guard import visit_of
from sretoolkit.server.site import Site

Schema = Mapping[str, Any]


def shape(**names: str | Schema) -> Schema:
    """The schema of an object that has at least these, each of a type or a schema of its own."""
    properties = {name: {"type": kind} if isinstance(kind, str) else kind for name, kind in names.items()}
    return {"type": "object", "properties": properties, "required": list(names)}


def some(item: Schema) -> Schema:
    """The schema of a list."""
    return {"type": "array", "items": item}


@dataclass(frozen=True)
class Call:
    """One call: who, at which site, with what."""

    site: Site
    person: Person
    address: str
    csrf: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """Method and path, what it is for, what it takes and answers; ``answer`` does it."""

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[Call], Any]
    gives: Schema
    body: Schema | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    status: int = 200

    @cached_property
    def _checks(self) -> Any:
        from sretoolkit.runbook.page import spare_the_grammar

        spare_the_grammar()
        from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

        return Draft202012Validator(dict(self.body or {}))

    def respond(self, site: Site, request: Request) -> Response:
        """Check what was sent, and answer."""
        visit = visit_of(request.scope)
        assert visit.person is not None
        body: Mapping[str, Any] = {}
        if self.body is not None:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return JSONResponse({"error": f"send application/json, not {kind[:60]!r}", "hint": ""}, 415)
            body = self._checked(visit.body)
        csrf = visit.session.csrf if visit.session else ""
        query = self._query(request)
        call = Call(site, visit.person, visit.address, csrf, request.path_params, query, body)
        return data(self.answer(call), status=self.status)

    def _checked(self, content: bytes) -> Mapping[str, Any]:
        """The body; raises `ParameterError` with every fault and where it is."""
        try:
            body = json.loads(content, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ParameterError(self.name, [f"the body is no JSON: {str(error) or 'nested too deep'}"]) from None
        faults = [
            f"{'.'.join(map(str, fault.absolute_path)) or 'the body'}: {fault.message[:300]}"
            for fault in self._checks.iter_errors(body)
        ]
        if faults:
            raise ParameterError(self.name, sorted(faults)[:20], hint="/api/openapi.json describes it")
        found: Mapping[str, Any] = body
        return found

    def _query(self, request: Request) -> dict[str, str]:
        given = request.query_params
        if unknown := sorted(set(given) - set(self.query)):
            raise ParameterError(self.name, [f"there is no query parameter {unknown[0][:60]!r}"])
        faults = [_fault(name, given[name], schema) for name, schema in self.query.items() if name in given]
        if found := [fault for fault in faults if fault]:
            raise ParameterError(self.name, found, hint="/api/openapi.json describes it")
        return {name: given[name] for name in self.query if name in given}


def route(path: str, operations: Mapping[str, Operation], site: Site) -> Route:
    """The route that serves the operations (by method) of one path."""

    def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return operations[method].respond(site, request)

    return Route(path, endpoint, methods=list(operations))


def _fault(name: str, text: str, schema: Schema) -> str:
    if schema["type"] == "integer":
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
        good = schema["minimum"] <= number <= schema["maximum"]
        return "" if good else f"{name}: {text[:60]!r} is no number from {schema['minimum']} to {schema['maximum']}"
    if len(text) > schema.get("maxLength", 200):
        return f"{name}: it is too long"
    return (
        "" if re.search(schema.get("pattern", ""), text) else f"{name}: {text[:60]!r} does not fit {schema['pattern']}"
    )


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
