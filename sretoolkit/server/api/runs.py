"""Runs over the API."""

from __future__ import annotations

from typing import Any

from sretoolkit.clock import parse_duration
from sretoolkit.errors import JournalError
from sretoolkit.journal import Journal, verify_run
from sretoolkit.journal.runs import moment
from sretoolkit.plan.control import VERBS
from sretoolkit.runbook.queue import Asked
from sretoolkit.runbook.run import Order
from sretoolkit.server import history
from sretoolkit.server.api.operation import Call, Operation, Schema, shape, some
from sretoolkit.server.pages.runbooks import find

_TEXT = {"type": "string", "maxLength": 200}
_PLACE = {
    "type": "string", "maxLength": 200, "pattern": r"^([0-9]+(\.[0-9]+)?_[0-9]{8}-[0-9]{6}-[0-9a-f]{6})?$",
    "description": "`after` of the page before; empty: the first page",
}  # fmt: skip
_ANY: Schema = {"type": "object"}
RUN = shape(id="string", runbook="string", state="string")
_TOLD = shape(run="string")
_LIST = shape(runs=some(RUN), after="string")
_ENTRIES = shape(entries=some(_ANY))
_PROOF = shape(state="string", entries="integer")
_VIEWS = shape(views=some(_ANY))
_ORDER = {
    "type": "object",
    "properties": {
        "runbook": {"type": "string", "minLength": 1, "maxLength": 200},
        "parameters": {"type": "object", "description": "as components.schemas has them: parameters.RUNBOOK"},
        "mode": {"enum": ["plan", "apply"], "default": "plan"},
        "ticket": _TEXT,
        "irreversible": {"type": "boolean", "description": "also steps that cannot be taken back"},
    },
    "required": ["runbook"], "additionalProperties": False,
    "examples": [{"runbook": "pid1_health", "parameters": {}, "mode": "plan", "ticket": "INC-1"}],
}  # fmt: skip
_CONTROL = {
    "type": "object",
    "properties": {
        "verb": {"enum": list(VERBS)}, "reason": {"type": "string", "maxLength": 500},
        "step": {"type": "integer", "minimum": 1, "maximum": 100_000, "description": "which one skip means"},
    },
    "required": ["verb"], "additionalProperties": False,
}  # fmt: skip
_APPROVAL = {
    "type": "object",
    "properties": {
        "plan": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "the hash of the plan that was looked at"},
        "valid": {"type": "string", "pattern": "^[0-9]{1,4}[mhd]$", "default": "8h"},
    },
    "required": ["plan"], "additionalProperties": False,
}  # fmt: skip
_NOTHING = {"type": "object", "additionalProperties": False}


def _list(call: Call) -> Any:
    limit = int(call.query.get("limit", history.PAGE))
    shown = history.list_runs(call.site, call.person, call.query, after=call.query.get("after", ""), limit=limit)
    return {"runs": [run.to_dict() for run in shown.runs], "after": shown.after}


def _show(call: Call) -> Any:
    try:
        run = call.site.desk(call.person).load(call.path["run"])
    except JournalError:
        return _waiting(_asked(call))
    _look(call, "run")
    view = history.run_view(call.site, run)
    cells = [{key: getattr(cell, key) for key in ("number", "status", "seconds", "text")} for cell in view["cells"]]
    return {**run.to_dict(), "plans": view["plans"], "undone": view["undone"], "cells": cells, "paused": view["paused"]}


def _entries(call: Call) -> Any:
    run = call.site.desk(call.person).load(call.path["run"])
    _look(call, "entries")
    after, limit = int(call.query.get("after", 0)), int(call.query.get("limit", 500))
    entries = Journal(call.site.store, run.id, actor=call.person.actor).entries(after=after)[:limit]
    return {"entries": [entry.content | {"hash": entry.hash} for entry in entries]}


def _proof(call: Call) -> Any:
    run = call.site.desk(call.person).load(call.path["run"])
    _look(call, "proof")
    return verify_run(call.site.store, call.site.keys, run.id).__dict__


def _views(call: Call) -> Any:
    run = call.site.desk(call.person).load(call.path["run"], role="admin")
    return {"views": [{**view, "at": moment(view["at"])} for view in history.views_of(call.site, run.id)]}


def _start(call: Call) -> Any:
    body = call.body
    found = find(call.site, call.person, body["runbook"])
    desk = call.site.desk(call.person)
    desk.access.require(call.person, found.name, "operator")
    order = Order(
        found, found.parameters.check(body.get("parameters", {})), mode=body.get("mode", "plan"), origin="api",
        ticket=body.get("ticket", ""), irreversible=body.get("irreversible", False),
    )  # fmt: skip
    asked = desk.ask(order)
    assert asked is not None
    return {"run": asked.id, "state": "waiting"}


def _control(call: Call) -> Any:
    desk = call.site.desk(call.person)
    run = desk.load(call.path["run"])
    verb, step = call.body["verb"], call.body.get("step")
    return {"run": desk.control(run.id, verb, reason=call.body.get("reason", ""), subject=str(step or ""))}


def _approve(call: Call) -> Any:
    desk = call.site.desk(call.person)
    run = desk.load(call.path["run"])
    found, _ = desk.approve(run.id, seen=call.body["plan"], valid_for=parse_duration(call.body.get("valid", "8h")))
    desk.go_on(found)
    return {"run": run.id, "state": "waiting"}


def _cancel(call: Call) -> Any:
    asked = _asked(call)
    call.site.access.require(call.person, _runbook(asked), "operator")
    call.site.queue.cancel(call.path["run"])
    return {"run": call.path["run"], "state": "cancelled"}


def _asked(call: Call) -> Asked:
    asked = call.site.queue.one(call.path["run"])
    if asked is None or not call.site.access.allows(call.person, _runbook(asked), "viewer"):
        run = call.path["run"]
        raise JournalError(
            f"no run {run!r} in this store", run=run, hint="GET /api/v1/runs lists those that you may see"
        )
    return asked


def _runbook(asked: Asked) -> str:
    return asked.request.runbook.rpartition("/")[2].removesuffix(".ipynb")


def _waiting(asked: Asked) -> dict[str, Any]:
    request = asked.request
    about = {"parameters": request.parameters, "mode": request.mode, "ticket": request.ticket, "actor": request.actor}
    return {"id": request.id, "runbook": _runbook(asked), "state": asked.state, "error": asked.error, **about}


def _look(call: Call, what: str) -> None:
    history.look(call.site, call.path["run"], call.person, address=call.address, what=f"api {what}")


_FILTERS = dict.fromkeys(history.FILTERS, _TEXT)
_SOME = {"type": "integer", "minimum": 1, "maximum": 200}
_MANY = {"type": "integer", "minimum": 1, "maximum": 5000}
_FROM = {"type": "integer", "minimum": 0, "maximum": 100_000_000}
V1 = "/api/v1/runs"
OPERATIONS = (
    Operation("GET", V1, "listRuns", "Runs, newest first, page by page.", _list, _LIST,
              query={**_FILTERS, "after": _PLACE, "limit": _SOME}),
    Operation("POST", V1, "startRun", "Ask for a run; it begins as soon as there is room.", _start, _TOLD, body=_ORDER,
              status=202),
    Operation("GET", f"{V1}/{{run}}", "showRun", "One run, its plans step by step and its cells.", _show, RUN),
    Operation("GET", f"{V1}/{{run}}/entries", "listEntries", "The entries of its journal.", _entries, _ENTRIES,
              query={"after": _FROM, "limit": _MANY}),
    Operation("GET", f"{V1}/{{run}}/proof", "proveRun", "What can be proved of its journal.", _proof, _PROOF),
    Operation("GET", f"{V1}/{{run}}/views", "listViews", "Who looked at it, for admins.", _views, _VIEWS),
    Operation("POST", f"{V1}/{{run}}/control", "controlRun", "Tell a running run something.", _control, _TOLD, body=_CONTROL),
    Operation("POST", f"{V1}/{{run}}/approve", "approveRun", "Approve exactly this plan; the run goes on.", _approve, _TOLD,
              body=_APPROVAL),
    Operation("POST", f"{V1}/{{run}}/cancel", "cancelRun", "Forget a request that waits.", _cancel, _TOLD, body=_NOTHING),
)  # fmt: skip
