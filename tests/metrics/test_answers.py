"""query, explore and health: answers as reports."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

import sretoolkit.metrics
from sretoolkit.clock import FakeClock
from sretoolkit.errors import NoData
from sretoolkit.metrics import explore, health, query
from tests.stack.process import free_port
from tests.stack.replay import asked, reply, serve

NOW = 1795392000
CLOCK = FakeClock(datetime.fromtimestamp(NOW, UTC))
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J"


def server(values: list[list[Any]], **more: Any) -> Any:
    """A Prometheus that knows one series."""
    series = [{"metric": {"name": HOSTILE}, "values": values}] if values else []

    def handle(request: BaseHTTPRequestHandler) -> None:
        data: dict[str, Any] = {"resultType": "matrix", "result": series}
        if asked(request)["path"].endswith("buildinfo"):
            data = {"version": "2.42.0"}
        reply(request, 200, json.dumps({"status": "success", "data": data, **more}).encode())

    return serve(handle)


def test_a_query_shows_facts_chart_and_table() -> None:
    """The report says where from, which version, which window and how many series, and draws them."""
    with server([[NOW - 60, "1"], [NOW, "3"]]) as url:
        report = query(f"prometheus+{url}", "x", window=timedelta(minutes=1), step=timedelta(minutes=1), clock=CLOCK)
    expected = {
        "source": f"prometheus+{url}",
        "version": "prometheus 2.42.0",
        "window": "1m to 2026-11-23 00:00:00 UTC",
        "step": "1m",
        "series": 1,
    }
    assert expected == report.facts
    assert report.ok
    assert "min 1  max 3  last 3" in str(report)
    assert "2/2" in str(report)


def test_hostile_labels_do_no_harm() -> None:
    """Markup and terminal sequences in a label reach neither the page nor the terminal."""
    with server([[NOW, "1"]]) as url:
        report = query(f"prometheus+{url}", "x", window=timedelta(minutes=1), clock=CLOCK)
    assert "<img src=x" not in report._repr_html_()
    assert "\x1b" not in report._repr_html_() + str(report)


def test_gaps_and_warnings_are_findings() -> None:
    """Missing samples are told as information, and a warning of the server makes the report not ok."""
    with server([[NOW, "1"]], warnings=["store b is down"]) as url:
        report = query(f"prometheus+{url}", "x", window=timedelta(minutes=1), step=timedelta(minutes=1), clock=CLOCK)
    assert ["medium", "info"] == [finding.severity for finding in report.findings]
    assert "1 of 2 samples are missing; a gap is no value, not a zero" == report.findings[1].summary


def test_no_data_is_an_error_for_a_query_and_a_finding_when_exploring() -> None:
    """A runbook stops when nothing is there; a tour goes on and says what to check."""
    with server([]) as url:
        with pytest.raises(NoData, match="has no data for x"):
            query(f"prometheus+{url}", "x", clock=CLOCK)
        report = explore(f"prometheus+{url}", "x")
    assert ("high", "NoData") == (report.worst, report.findings[0].subject)
    assert "check metric name and labels" in report.findings[0].remedy


def test_exploring_without_a_server_is_kind() -> None:
    """A missing Prometheus is a readable finding with a remedy, for a URL and for a name that is not configured."""
    report = explore(f"prometheus+http://127.0.0.1:{free_port()}", "up")
    assert "Connection refused" in report.findings[0].summary
    assert "is it running" in report.findings[0].remedy
    assert "ConfigError" == explore("no-such-source", "up").findings[0].subject
    assert "hunter2" not in str(explore("prometheus+http://me:hunter2@h", "up"))


def test_health_of_a_missing_server_is_a_finding() -> None:
    """The health of a source never raises for a server that is down."""
    assert "critical" == health(f"prometheus+http://127.0.0.1:{free_port()}").worst


def test_importing_metrics_is_light() -> None:
    """The package and its plug-in names come without numpy, pandas, requests or the client library."""
    code = (
        "import sys, sretoolkit.metrics, sretoolkit.chart; from sretoolkit.metrics import connect, query;"
        "from sretoolkit.metrics.source import SOURCES; list(SOURCES);"
        "print([name for name in ('numpy', 'pandas', 'prometheus_api_client', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]" == done.stdout.strip()


def test_every_public_name_is_there() -> None:
    """Each name of ``__all__`` can be had, once, and no other."""
    names = sretoolkit.metrics.__all__
    assert len(names) == len(set(names))
    assert all(getattr(sretoolkit.metrics, name).__name__ == name for name in names)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = sretoolkit.metrics.nope
