"""What an error is over HTTP, and pages from templates: every text escaped, every known secret masked, nothing hidden in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, JSONResponse, Response

from sretoolkit.clock import format_duration
from sretoolkit.errors import (
    AccessDenied,
    ConfigError,
    HTTPError,
    JournalError,
    LeaseError,
    ParameterError,
    PlanError,
    ProvisionError,
    RunbookError,
    SREToolkitError,
    StoreUnavailable,
    UnknownPlugin,
    UnknownRunbook,
    UnknownSchedule,
)
from sretoolkit.report import plain
from sretoolkit.secrets import redaction

_STATUS: tuple[tuple[type[SREToolkitError], int], ...] = (
    (AccessDenied, 403), (UnknownPlugin, 404), (ParameterError, 422), (JournalError, 404), (StoreUnavailable, 503),
    (ConfigError, 422), (UnknownRunbook, 404), (UnknownSchedule, 404), (ProvisionError, 422), (RunbookError, 409),
    (PlanError, 409), (LeaseError, 409), (HTTPError, 502),
)  # fmt: skip
_HEADING = {403: "Not allowed", 404: "Not found", 422: "That cannot be used", 503: "The store is away", 409: "Not now"}


def status_of(error: SREToolkitError) -> int:
    """The status of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def refusal(error: SREToolkitError, *, html: bool, visit: Any = None) -> Response:
    """An error as a page or as JSON: what happened, and what to do next."""
    status = status_of(error)
    if html:
        about = {"heading": _HEADING.get(status, "Something went wrong"), "message": error.message, "hint": error.hint}
        return page("error.html", visit, status=status, **about)
    return data({"error": error.message, "hint": error.hint}, status=status)


def data(content: Any, *, status: int = 200) -> Response:
    """JSON, without any known secret."""
    return JSONResponse(json.loads(json.dumps(redaction.data(content), default=str)), status)


def page(name: str, visit: Any, *, status: int = 200, **content: Any) -> Response:
    """A page from a template."""
    session = visit.session if visit is not None else None
    shown = {"session": session, "person": visit.person if visit is not None else None, **content}
    return HTMLResponse(_environment().get_template(name).render(shown), status)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sretoolkit.server", "templates"), autoescape=True, undefined=StrictUndefined,
        finalize=_shown, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"when": _when, "value": _value, "words": _words, "took": _took}
    return environment


def _shown(value: Any) -> Any:
    """What a template puts into a page: no secret that is known, and no character that nobody sees."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(plain(line.expandtabs(4)) for line in redaction(value).split("\n"))


def _when(seconds: float | None) -> Markup:
    """A moment, for people and for programs."""
    if seconds is None:
        return Markup("–")
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S} UTC"
    )


def _took(seconds: float | None) -> str:
    """How long something took, where that is worth a word."""
    if seconds is None or seconds < 0.05:
        return ""
    return f"{seconds:.1f}s" if seconds < 10 else format_duration(timedelta(seconds=round(seconds)))


def _value(value: Any) -> str:
    """A value of any kind as a text that one can read."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_value(item)}" for key, item in value.items())
    return "–" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _words(name: str) -> str:
    """A state's name in words."""
    return name.replace("_", " ")
