"""Webhooks in: Alertmanager's, by its token, and those of other programs, signed.

::

    [hooks.deploy]
    secret = "env:DEPLOY_HOOK"
    runbook = "canary_rollout"
    mode = "plan"                  # or "apply"
    parameters = {name = "shop"}
    takes = ["version"]            # what the body's "parameters" may say
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sretoolkit.actor import Actor
from sretoolkit.errors import ConfigError, ParameterError
from sretoolkit.runbook.access import Person
from sretoolkit.runbook.notebook import Runbook
from sretoolkit.runbook.run import Order
from sretoolkit.secrets import Secret
from sretoolkit.server.alerts import Alerts
from sretoolkit.server.answers import data
from sretoolkit.server.guard import visit_of
from sretoolkit.server.signatures import SIGNATURE, wrong
from sretoolkit.server.site import Site

ALERTMANAGER = "alertmanager"
_OPTIONS = ("secret", "runbook", "mode", "parameters", "takes")


class Hooks:
    """``/hooks/NAME``. What is not configured is not there."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._alerts = Alerts(site)
        self._hooks = {name: site.config.endpoint("hooks", name) for name in site.config.names("hooks")}
        for name, options in self._hooks.items():
            needed = ("token",) if name == ALERTMANAGER else ("secret", "runbook")
            allowed = ("token",) if name == ALERTMANAGER else _OPTIONS
            if missing := [key for key in needed if not options.get(key)]:
                raise ConfigError(f"[hooks.{name}] needs {missing[0]}", hint="without it anybody could send something")
            if unknown := sorted(set(options) - set(allowed)):
                raise ConfigError(
                    f"[hooks.{name}] has no option {unknown[0]!r}", hint=f"it takes: {', '.join(allowed)}"
                )

    def alertmanager(self, request: Request) -> Response:
        """What came of each alert."""
        options = self._hooks.get(ALERTMANAGER)
        if options is None:
            return _refused(404, "no such hook")
        given = request.headers.get("authorization", "").partition(" ")[2].encode()
        if not hmac.compare_digest(given, Secret(options["token"]).reveal().encode()):
            return _refused(401, "the token is another one")
        return data({"alerts": self._alerts.take(visit_of(request.scope).body)})

    def named(self, request: Request) -> Response:
        """Ask for the hook's run; what is sent twice is asked for once."""
        name = request.path_params["name"]
        options = self._hooks.get(name)
        if options is None or name == ALERTMANAGER:
            return _refused(404, "no such hook")
        body = visit_of(request.scope).body
        if why := wrong(Secret(options["secret"]), body, request.headers):
            return _refused(401, why)
        found = Runbook.find(str(options["runbook"]), self._site.config)
        values = found.parameters.check({**options.get("parameters", {}), **_given(name, options, body)})
        person = Person(Actor("web", f"hook:{name}", "hook"))
        order = Order(found, values, mode="apply" if options.get("mode") == "apply" else "plan", origin=f"hook {name}")
        once = f"hook {name} {request.headers[SIGNATURE]}"
        asked = self._site.desk(person).ask(order, once=once)
        return data({"run": asked.id if asked else "", "did": "asked" if asked else "nothing"}, status=202)


def _given(name: str, options: dict[str, Any], body: bytes) -> dict[str, Any]:
    """The parameters of a body; raises `ParameterError` for those that the hook does not take."""
    try:
        content = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        content = None
    given = content.get("parameters", {}) if isinstance(content, dict) else None
    if not isinstance(given, dict):
        raise ParameterError(f"hook {name}", ['the body must be JSON: {"parameters": {...}}'])
    if others := sorted(set(given) - set(options.get("takes", []))):
        raise ParameterError(f"hook {name}", [f"{others[0][:60]!r} is not among what it takes"])
    return given


def _refused(status: int, text: str) -> Response:
    return JSONResponse({"error": text, "hint": ""}, status)
