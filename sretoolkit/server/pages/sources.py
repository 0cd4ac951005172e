"""Sources: how the monitoring systems are. What did not answer is unknown, and unknown is never shown as well."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from sretoolkit.config import Config
from sretoolkit.errors import SREToolkitError
from sretoolkit.report import Finding, Report
from sretoolkit.server.answers import page
from sretoolkit.server.guard import visit_of
from sretoolkit.server.site import Site

_FRESH_FOR = 15.0
_PATIENCE = timedelta(seconds=5)


class SourceHealth:
    """Asks all sources at once, beside the page, at most every few seconds, whoever looks."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._known: tuple[float, Report] | None = None

    def report(self) -> tuple[Report, float]:
        """What was said last, and how many seconds ago."""
        with self._lock:  # of many who come at once, one asks and the others wait for the same answer
            if self._known is None or time.monotonic() - self._known[0] > _FRESH_FOR:
                self._known = (time.monotonic(), self._asked())
            return self._known[1], time.monotonic() - self._known[0]

    def _asked(self) -> Report:
        if not self._config.names("sources"):
            text = "no source is configured: nothing is known of any system"
            return Report("Sources", findings=[Finding(severity="info", subject="sources", summary=text)])
        try:
            from sretoolkit.metrics import survey  # numpy: only who looks at sources pays for it

            return survey(patience=_PATIENCE, config=self._config)
        except SREToolkitError as error:
            wrong = Finding(severity="critical", subject="sources", summary=error.message, remedy=error.hint)
            return Report("Sources", findings=[wrong])


class SourcePages:
    """``/sources``."""

    def __init__(self, site: Site, health: SourceHealth) -> None:
        self._site = site
        self._health = health

    def index(self, request: Request) -> Response:
        """Each source, worst first, and how old the answer is."""
        report, age = self._health.report()
        names = self._site.config.names("sources")
        return page("sources.html", visit_of(request.scope), report=report, age=round(age), configured=names)
