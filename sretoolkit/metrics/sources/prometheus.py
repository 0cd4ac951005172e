"""Prometheus, and what speaks its HTTP API (VictoriaMetrics, Thanos, Mimir), through prometheus-api-client."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prometheus_api_client import PrometheusConnect
from requests.adapters import Retry

from sretoolkit.clock import Clock
from sretoolkit.errors import QueryError, SourceError
from sretoolkit.metrics.endpoint import Endpoint
from sretoolkit.metrics.grid import Grid
from sretoolkit.metrics.series import SeriesFrame
from sretoolkit.metrics.source import Capabilities, MetricSource
from sretoolkit.metrics.sources._prometheus_alertmanager import OPTIONS, Alertmanager, refusal
from sretoolkit.metrics.sources._prometheus_alerts import alert_events, discovered, rule_states, target_states
from sretoolkit.metrics.sources._prometheus_body import Result
from sretoolkit.metrics.sources._prometheus_decode import Decoder
from sretoolkit.metrics.sources._prometheus_health import examine
from sretoolkit.metrics.sources._prometheus_http import Session
from sretoolkit.metrics.sources._prometheus_raw import Raw
from sretoolkit.metrics.sources._prometheus_sli import compile_sli
from sretoolkit.metrics.wire import Wire
from sretoolkit.report import Report

if TYPE_CHECKING:
    from sretoolkit.metrics.compiled import Compiled
    from sretoolkit.metrics.entity import Entity
    from sretoolkit.metrics.events import Event, Window
    from sretoolkit.metrics.matcher import Selector
    from sretoolkit.metrics.sli import SLI
    from sretoolkit.metrics.states import CheckState
    from sretoolkit.metrics.windows import Samples

MOST_POINTS = 11_000  # a server refuses a range of more points a series
_LARGE, _MOST_PARTS = 1_000_000, 2  # samples from which on a range is asked for in so many parts, side by side
_LONG = 1000  # moments from which on counting the series first costs next to nothing


class Prometheus(MetricSource):
    """A server with the Prometheus HTTP API.

    ``alertmanager`` is the URL of the Alertmanager that it alerts to (with ``alertmanager_token``, or
    ``alertmanager_username`` and ``alertmanager_password``), or a path on the same host (with the same login).
    """

    own_options = OPTIONS
    declared = Capabilities(history=True, quantile="bucketed", group_by=True, regex_filter=True, server_window=True)

    def __init__(self, endpoint: Endpoint, *, clock: Clock | None = None) -> None:
        super().__init__(endpoint, clock=clock)
        self._session = Session(endpoint, clock=self.clock)
        self._raw = Raw(self)
        self._alertmanager = Alertmanager(self) if endpoint.options.get("alertmanager") else None
        self._client = PrometheusConnect(
            self._session.wire.http.remote.url, retry=Retry(total=0), session=self._session, method="POST"
        )

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; silencing needs an Alertmanager."""
        able = super().capabilities
        return able if self._alertmanager else replace(able, verbs=able.verbs - {"silence"})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._alertmanager:
            self._alertmanager.close()

    def range(
        self, query: str, *, window: timedelta, step: timedelta | None = None, end: datetime | None = None
    ) -> SeriesFrame:
        """PromQL, evaluated at each moment of the grid; more than 11,000 moments are asked for in pieces."""
        return self.asked(query, Grid.of(window=window, step=step, end=end, clock=self.clock))

    def instant(self, query: str, *, at: datetime | None = None) -> SeriesFrame:
        """PromQL at one moment."""
        return self.asked(query, Grid.at(at or self.clock.now()))

    def sli(self, sli: SLI, grid: Grid, *, exact: bool = False) -> Compiled:
        """One PromQL query; ``exact`` computes from raw samples (remote read), whatever the server's version.

        A latency's metric is named without ``_bucket`` for its native histogram, or its buckets where there is none; with
        ``_bucket`` for these alone. An availability of an entity is of its scrapes, of the job ``check``.
        """
        return compile_sli(self, sli, grid, exact=exact)

    def asked(self, query: str, grid: Grid) -> SeriesFrame:
        """PromQL at each moment of a grid; a single moment is asked for as such."""
        decoder = Decoder(self.name, query, grid)
        if grid.count == 1:
            result = self.at(query, grid.first)
            if result.kind == "matrix":
                hint = "write rate(...[5m]) or the like, or ask for a range"
                raise decoder.refused("a range has no value at one moment", hint)
            decoder.add(result)
            return decoder.frame()
        parts = min(_MOST_PARTS, 1 + self._weighed(query, grid) // _LARGE)
        chunks = list(grid.chunks(min(MOST_POINTS, -(-grid.count // parts))))
        with closing(_in_turn(lambda chunk: self._range(query, chunk), chunks)) as results:
            for result in results:
                decoder.add(result)
                self.afford(decoder.series * grid.count, query)
        return decoder.frame()

    def at(self, query: str, moment: int) -> Result:
        """What the server answers at one moment (milliseconds), ranges of raw samples included."""
        result: Result = self._client.custom_query(query, params={"time": _seconds(moment), **self._deadline})
        return result

    def raw(self, selector: Selector, start: int, end: int) -> list[Samples]:
        """The raw samples in (start, end] (milliseconds), a series each."""
        return self._raw.fetch(selector, start, end)

    def checks(self) -> list[CheckState]:
        """Alert rules (pending alerts are not hard yet) and targets; with an Alertmanager also whether they are silenced.

        A firing alert is critical unless its label ``severity`` says less; a target's check is its job.
        """
        alerts = list(rule_states(self))
        return [*(self._alertmanager.merged(alerts) if self._alertmanager else alerts), *target_states(self)]

    def events(self, window: Window) -> list[Event]:
        """When alerts were pending and firing, and the silences of the Alertmanager."""
        silences = list(self._alertmanager.silences(window)) if self._alertmanager else []
        return sorted([*alert_events(self, window), *silences], key=lambda event: event.start)

    def discover(self) -> list[Entity]:
        """The hosts behind the targets, with their jobs."""
        return discovered(self)

    def silence(self, check: CheckState, window: Window, comment: str) -> str:
        """Silence alerts with the check's labels in the Alertmanager."""
        if not self._alertmanager:
            raise refusal(self, "silence")
        return self._alertmanager.silence(check, window, comment)

    def unsilence(self, identifier: str) -> None:
        """End a silence in the Alertmanager."""
        if not self._alertmanager:
            raise refusal(self, "unsilence")
        self._alertmanager.unsilence(identifier)

    def version(self) -> str:
        """As ``/api/v1/status/buildinfo`` tells; "unknown" where a look-alike does not."""
        try:
            return str(self.status("buildinfo").get("version", "unknown"))
        except SourceError:
            return "unknown"

    def health(self) -> Report:
        """Version, failed configuration reloads, damaged data, targets that are down, and a clock that differs."""
        return examine(self)

    @property
    def wire(self) -> Wire:
        """The connection."""
        return self._session.wire

    @property
    def _deadline(self) -> dict[str, str]:
        """The server, too, gives up when nobody waits any longer."""
        return {"timeout": f"{self.endpoint.timeout.total_seconds():g}"}

    def _weighed(self, query: str, grid: Grid) -> int:
        """How many samples a range may bring (0: not known); too many are refused.

        Of a long one the series are counted first, at its end.
        """
        self.afford(grid.count, query)
        if grid.count > _LONG:
            try:
                (counted,) = self.at(f"count(\n{query}\n)", grid.last)
            except (QueryError, ValueError):  # a scalar, a broken query, nothing at this moment: the range will tell
                return 0
            samples = int(counted.values[-1]) * grid.count
            self.afford(samples, query)
            return samples
        return 0

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
        return self.page(f"status/{page}")

    def page(self, name: str, **parameters: str) -> dict[str, Any]:
        """The data of one page of the API."""
        answer = self._session.request("GET", f"/api/v1/{name}", params=parameters).json()["data"]
        return answer if isinstance(answer, dict) else {}

    def targets(self) -> list[dict[str, Any]]:
        """What the server scrapes, and with what success."""
        found: list[dict[str, Any]] = self._client.get_targets(state="active").get("activeTargets") or []
        return found

    def server_time(self) -> datetime:
        """The server's own clock."""
        (answered,) = self._client.custom_query("time()", params=dict(self._deadline))
        return datetime.fromtimestamp(float(answered.values[0]), UTC)


def _in_turn(ask: Callable[[Grid], Result], chunks: Sequence[Grid]) -> Generator[Result]:
    """The answers in their order; while one is read, the server works on the other."""
    if len(chunks) == 1:
        yield ask(chunks[0])
        return
    pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="prometheus")
    try:
        yield from pool.map(ask, chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def _seconds(milliseconds: int) -> str:
    """As the API reads it, exactly."""
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
