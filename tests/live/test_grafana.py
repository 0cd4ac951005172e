"""Indicators through Grafana's proxy (a stand-in for it) from a real Prometheus and a real Graphite."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from sretoolkit.config import Config
from sretoolkit.errors import QueryError
from sretoolkit.metrics import MetricSource, connect
from sretoolkit.metrics.matcher import Selector
from tests.stack.dataset import ERRORS, METRIC, Dataset
from tests.stack.grafana import Grafana
from tests.stack.graphite import Graphite
from tests.stack.prometheus import Prometheus

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """The same requests for both."""
    return Dataset.recent()


@pytest.fixture(scope="module", params=["prometheus", "graphite"])
def server(request: pytest.FixtureRequest, dataset: Dataset) -> Iterator[Grafana]:
    """A Grafana in front of a real server that holds the data set."""
    behind = Prometheus() if request.param == "prometheus" else Graphite()
    try:
        with behind, Grafana(behind, request.param) as server:
            server.load(dataset)
            yield server
    except RuntimeError as error:
        if "is missing" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture
def source(server: Grafana, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricSource]:
    """The configured source."""
    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    with connect("flagship", Config.of(sources={"flagship": server.options})) as source:
        yield source


def test_the_error_ratio_is_exact(source: MetricSource, server: Grafana, dataset: Dataset) -> None:
    """The SLI over the data set equals the value from whole numbers, whatever stands behind Grafana."""
    frame = ERRORS.measure(source, end=dataset.moment, exact=True)
    exact = dataset.exact()
    assert [{"service": "api"}, {"service": "web"}] == frame.labels
    np.testing.assert_allclose(frame.values[0], [exact["api"], exact["web"]], rtol=1e-9)
    assert any("/api/datasources/proxy/uid/" in asked for asked in server.asked)


def test_the_explanation_is_in_the_language_of_what_stands_behind(source: MetricSource, server: Grafana) -> None:
    """What would be asked is PromQL or a render target, and the reason says through what."""
    compiled = ERRORS.compiled(source)
    assert f"through Grafana's {server.kind} behind: " in compiled.reason
    assert METRIC in compiled.native
    assert METRIC in source.native(Selector.of(METRIC, service="api"))


def test_an_error_of_the_server_behind_is_said(source: MetricSource, server: Grafana) -> None:
    """A query that is wrong ends in the words of the system behind."""
    query, says = {"prometheus": ("sum(", "parse error"), "graphite": ("noSuchFunction(a)", "noSuchFunction")}[
        server.kind
    ]
    with source._behind("a test", query) as behind, pytest.raises(QueryError, match=says):  # type: ignore[attr-defined]
        behind.range(query, window=timedelta(minutes=5))
