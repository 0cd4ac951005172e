"""Every real system at once: one data set, one indicator, one value; their health, their alerts, and the runbooks over all."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NotExpressible
from sretoolkit.metrics import alerts, slo_report, survey, triage
from sretoolkit.runbook import Order, Runbook, run_runbook
from tests.stack.dataset import ERRORS, WINDOW, Dataset
from tests.stack.elastic import Elastic
from tests.stack.graphite import Graphite
from tests.stack.icinga2 import Icinga2
from tests.stack.influxdb import Influxdb
from tests.stack.local import Local
from tests.stack.nagios import Nagios
from tests.stack.prometheus import Prometheus
from tests.stack.victoria import Victoria
from tests.stack.zabbix import Zabbix

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("everything"), pytest.mark.timeout(300)]

DATA = Dataset.recent()
SYSTEMS: dict[str, Any] = {
    "prometheus2": lambda: Prometheus(alerting=True),
    "prometheus3": lambda: Prometheus(version="3"),
    "victoria": Victoria,
    "graphite": Graphite,
    "elastic": Elastic,
    "zabbix6": lambda: Zabbix("6.0"),
    "zabbix7": lambda: Zabbix("7.0"),
    "influxdb": Influxdb,
    "local": Local,
    "icinga": Icinga2,
    "nagios": Nagios,
}
COUNTING = [name for name in SYSTEMS if name not in ("icinga", "nagios")]


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, Any]]:
    """All of them, started side by side and loaded with the data set."""
    with ExitStack() as stops, ThreadPoolExecutor(len(SYSTEMS)) as pool:

        def start(name: str) -> Any:
            server = SYSTEMS[name]()
            manager: AbstractContextManager[Any] = server
            manager.__enter__()
            stops.callback(manager.__exit__, None, None, None)
            if name in COUNTING:
                server.load(DATA)
            return server

        try:
            yield dict(zip(SYSTEMS, pool.map(start, SYSTEMS), strict=True))
        except RuntimeError as error:
            pytest.skip(str(error))


@pytest.fixture
def config(stack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration of all of them, with an objective on each that counts requests."""
    for server in stack.values():
        for name, value in server.secrets.items():
            monkeypatch.setenv(name, value)
    sli = {
        "kind": "error_ratio",
        "bad": str(ERRORS.bad),
        "total": str(ERRORS.total),
        "by": ["service"],
        "window": "10m",
    }
    slos = {
        name: {"sli": "errors", "source": name, "objective": 97.0, "period": "1h"} for name in ("local", "graphite")
    }
    tables = {
        **{f"sources.{name}": server.options for name, server in stack.items()},
        "slis.errors": sli,
        **{f"slos.{name}": slo for name, slo in slos.items()},
        "store": {"url": f"sqlite:///{tmp_path / 'store.db'}"},
        "journal": {"keys": str(tmp_path / "keys")},
        "records": {"folder": str(tmp_path / "records")},
    }
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = tmp_path / "sretoolkit.toml"
    path.write_text("\n".join(lines))
    monkeypatch.setenv("SRETOOLKIT_CONFIG", str(path))  # for the runbooks' kernels, too
    return Config.load()


@pytest.mark.parametrize("name", COUNTING)
def test_one_indicator_has_one_value_everywhere(name: str, config: Config) -> None:
    """The error ratio over ten minutes, from one data set in every real server, equals that of whole numbers to 1e-9."""
    frame = ERRORS.measure(name, end=DATA.moment, exact=True, config=config)
    found = {labels["service"]: value for labels, value in zip(frame.labels, frame.values[0].tolist(), strict=True)}
    assert pytest.approx(DATA.exact(WINDOW), rel=1e-9, abs=0) == found


@pytest.mark.parametrize("name", ["icinga", "nagios"])
def test_who_counts_no_requests_says_so(name: str, config: Config) -> None:
    """A system that knows states alone refuses the ratio, with the reason and what comes nearest."""
    with pytest.raises(NotExpressible) as caught:
        ERRORS.measure(name, end=DATA.moment, config=config)
    assert caught.value.reason
    assert caught.value.nearest


def test_the_health_of_all_is_asked_at_once(config: Config) -> None:
    """Every started system answers with its version; nothing is worse than what the tests themselves arranged."""
    report = survey(config=config)
    (table,) = report.tables
    states = {row[0]: row[1] for row in table.rows}
    versions = {row[0]: row[3] for row in table.rows}
    assert set(SYSTEMS) == set(states)
    untold = [name for name, version in versions.items() if version in ("", "unknown")]
    assert ["victoria"] == untold  # Debian builds it without a version: it has none to tell
    assert [] == [str(one) for one in report.findings if one.severity in ("critical", "high")], str(report)
    assert "3." == versions["prometheus3"][:2]


def test_what_is_wrong_is_merged(config: Config) -> None:
    """The alert that always fires, the target that is down and the broken service are there, from three systems."""
    report = alerts(["prometheus2", "icinga", "nagios"], config=config)
    assert poll(lambda: {"AlwaysFiring", "bad"} <= _checks(config), timeout=60, interval=0.5), str(report)


def _checks(config: Config) -> set[str]:
    report = alerts(["prometheus2", "icinga", "nagios"], config=config)
    return {row[2] for row in report.tables[0].rows}


def test_one_that_hangs_is_named_and_the_others_answer(config: Config) -> None:
    """With a source that accepts and says nothing, the rest is answered in the time that is given."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sources = {name: config.endpoint("sources", name) for name in config.names("sources")}
        sources["silent"] = {"kind": "icinga2", "url": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        report = survey(config=Config.of(sources=sources), patience=timedelta(seconds=10))
    answered = {row[0] for row in report.tables[0].rows if row[4]}
    assert set(SYSTEMS) == answered, str(report)
    assert any("silent did not answer within 10s" in finding.summary for finding in report.findings)


def test_objectives_and_triage_over_real_systems(config: Config) -> None:
    """Budgets of two systems are equal, for the data is; triage names what fires."""
    report = slo_report(end=DATA.moment, config=config)
    rows = {(row[0], row[1]): row[3] for row in report.tables[0].rows}
    assert rows["local", "web"] == rows["graphite", "web"]
    assert "AlwaysFiring" in str(triage(config=config))


@pytest.mark.parametrize("name", ["slo_report", "alert_triage"])
def test_the_runbooks_keep_it_on_record(name: str, config: Config) -> None:
    """Run as a scheduler runs it, each ends completed with a page that holds table and picture."""
    book = Runbook.read(Path(__file__).parents[2] / "runbooks" / f"{name}.ipynb")
    result = run_runbook(Order(book, book.parameters.check({})), config)
    assert result.ok, result.error
    assert result.html is not None
    page = result.html.read_text()
    assert "<table" in page
    assert 'src="data:image/svg+xml;base64,' in page
