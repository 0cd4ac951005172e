"""Prometheus, and what speaks its HTTP API (VictoriaMetrics, Thanos, Mimir), through prometheus-api-client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_api_client import PrometheusConnect
from requests.adapters import Retry

from sretoolkit.clock import Clock
from sretoolkit.errors import SourceError
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._prometheus_decode import Decoder
from sretoolkit.metrics.sources._prometheus_health import examine
from sretoolkit.metrics.sources._prometheus_http import Result, Session
from sretoolkit.report import Report

MOST_POINTS = 11_000  # a server refuses a range of more points a series


class Prometheus(MetricSource):
    """A server with the Prometheus HTTP API."""

    declared = Capabilities(history=True, quantile="bucketed", group_by=True, regex_filter=True, server_window=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self._session = Session(endpoint, clock=self.clock)
        self._client = PrometheusConnect(
            self._session.wire.http.remote.url, retry=Retry(total=0), session=self._session, method="POST"
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """PromQL, evaluated at each moment of the grid; more than 11,000 moments are asked for in pieces."""
        grid = Grid.of(window=window, step=step, end=end, clock=self.clock)
        results = [self._range(query, chunk) for chunk in grid.chunks(MOST_POINTS)]
        return Decoder(self.name, query).frame(grid, results)

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """PromQL at one moment."""
        grid = Grid.at(at or self.clock.now())
        result = self._client.custom_query(query, params={"time": _seconds(grid.first), **self._deadline})
        decoder = Decoder(self.name, query)
        if result.kind == "matrix":
            raise decoder.refused(
                "a range has no value at one moment", "write rate(...[5m]) or the like, or ask for a range"
            )
        return decoder.frame(grid, [result])

    def version(self) -> str:
        """As ``/api/v1/status/buildinfo`` tells; "unknown" where a look-alike has no such page."""
        try:
            return str(self.status("buildinfo").get("version", "unknown"))
        except SourceError:
            return "unknown"

    def health(self) -> Report:
        """Version, failed configuration reloads, damaged data, targets that are down, and a clock that differs."""
        return examine(self)

    @property
    def _deadline(self) -> dict[str, str]:
        """The server, too, gives up when nobody waits any longer."""
        return {"timeout": f"{self.endpoint.timeout.total_seconds():g}"}

    def _range(self, query: str, grid: Grid) -> Result:
        bounds = {"start": _seconds(grid.first), "end": _seconds(grid.last)}  # the client would round to whole seconds
        moment = datetime.fromtimestamp(0, UTC)
        step = _seconds(grid.step)
        result: Result = self._client.custom_query_range(
            query, moment, moment, step, params={**bounds, **self._deadline}
        )
        return result

    def status(self, page: str) -> dict[str, Any]:
        """What the server says about itself on one of its status pages."""
        answer = self._session.request("GET", f"/api/v1/status/{page}").json()["data"]
        return answer if isinstance(answer, dict) else {}

    def targets(self) -> list[dict[str, Any]]:
        """What the server scrapes, and with what success."""
        found: list[dict[str, Any]] = self._client.get_targets(state="active").get("activeTargets") or []
        return found

    def server_time(self) -> datetime:
        """The server's own clock."""
        result = self._client.custom_query("time()", params=dict(self._deadline))
        return datetime.fromtimestamp(float(result[1]), UTC)


def _seconds(milliseconds: int) -> str:
    """As the API reads it, exactly."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
