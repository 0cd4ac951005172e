"""The OpenAPI document, made from the declarations of the operations, the runbooks' parameters and the provisioning commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from sretoolkit.errors import SREToolkitError
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.notebook import Runbook, runbook_paths
from sretoolkit.server.api.operation import Operation, Schema
from sretoolkit.server.site import Site

_RUN = {"type": "string", "pattern": "^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$"}
_PATH: dict[str, dict[str, Any]] = {"run": _RUN, "name": {"type": "string"}, "command": {"type": "string"}}
ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "hint": {"type": "string"}},
    "required": ["error"],
}


def document(operations: Sequence[Operation], site: Site, person: Person) -> dict[str, Any]:
    """The document for somebody: of the runbooks, those that they may see."""
    books = _parameters(site, person)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, operations, books)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sretoolkit", "version": version("sretoolkit"),
            "description": "Runs of runbooks: asked for, followed, told, approved and proved. A program of the user who runs "
            "the server sends the token of serve.token_file; a page sends its session's cookie and X-CSRF-Token.",
        },
        "servers": [{"url": site.url or "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR, **{_component(name): schema for name, schema in books.items()}},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": site.cookie},
            },
        },
    }  # fmt: skip


def _described(
    operation: Operation, operations: Sequence[Operation], books: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    error = {
        "description": "why not",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    names = re.findall(r"{(\w+)}", operation.path)
    path = [{"name": name, "in": "path", "required": True, "schema": _PATH[name]} for name in names]
    query = [{"name": name, "in": "query", "schema": dict(schema)} for name, schema in operation.query.items()]
    good = {"description": operation.summary, "content": {"application/json": {"schema": dict(operation.gives)}}}
    if links := _links(operation, operations):
        good["links"] = links
    body = {} if operation.body is None else {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _body(operation.body, books)}}}
    }  # fmt: skip
    return {
        "operationId": operation.name, "summary": operation.summary, "parameters": [*path, *query], **body,
        "responses": {str(operation.status): good, "4XX": error, "502": error, "503": error},
    }  # fmt: skip


def _body(schema: Schema, books: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is sent; where it names a runbook, with what that one takes and cannot do without."""
    if "runbook" not in schema.get("properties", {}):
        return dict(schema)
    each = [
        {
            "if": {"properties": {"runbook": {"const": name}}, "required": ["runbook"]},
            "then": {
                "properties": {"parameters": {"$ref": f"#/components/schemas/{_component(name)}"}},
                "required": ["parameters"] if book.get("required") else [],
            },
        }
        for name, book in books.items()
    ]
    return {**schema, "allOf": each} if each else dict(schema)


def _links(operation: Operation, operations: Sequence[Operation]) -> dict[str, Any]:
    """Where its answer leads: to all that can be asked of the run that it names."""
    if "run" not in operation.gives["properties"]:
        return {}
    about = {"run": "$response.body#/run"}
    return {each.name: {"operationId": each.name, "parameters": about} for each in operations if "{run}" in each.path}


def _component(runbook: str) -> str:
    return f"parameters.{re.sub('[^a-zA-Z0-9._-]', '_', runbook)}"


def _parameters(site: Site, person: Person) -> dict[str, Mapping[str, Any]]:
    """A schema for the parameters of each runbook."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, path in runbook_paths(site.config).items():
        if site.access.allows(person, name, "viewer"):
            try:
                found[name] = Runbook.read(path).parameters.schema()
            except SREToolkitError:  # the list of runbooks says what is wrong with it
                continue
    return found
