"""The panel that looks around: what it asks, what it shows, and what it says when there is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sretoolkit.metrics.sources._local_database import Database
from sretoolkit.widgets import ChartView, MetricExplorer


@pytest.fixture
def explorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricExplorer]:
    """A panel over one file of measurements."""
    database = Database(tmp_path / "m.db", timeout=timedelta(seconds=5))
    database.create()
    now = int(datetime.now(UTC).timestamp() * 1000)
    for host in ("h1", 'h"2'):
        samples = [(now - 15_000 * number, float(number)) for number in range(200)]
        database.append("load", {"host": host}, samples)
    (tmp_path / "sretoolkit.toml").write_text(
        f'[sources.here]\nkind = "local"\nurl = "{(tmp_path / "m.db").as_uri()}"\n'
    )
    monkeypatch.chdir(tmp_path)
    panel = MetricExplorer(window=timedelta(minutes=15))
    panel._work.join(10)
    yield panel
    panel._work.join(10)


def press(panel: MetricExplorer) -> None:
    """Press Ask and wait for the answer."""
    panel.ask.click()
    panel._work.join(10)


def test_the_metrics_that_the_source_knows_are_offered(explorer: MetricExplorer) -> None:
    """The list of metrics comes from the source itself."""
    assert (("here",), ("load",)) == (tuple(explorer.source.options), explorer.metric.options)


def test_what_is_picked_is_asked_and_can_be_copied(explorer: MetricExplorer) -> None:
    """Metric and conditions become the native query, a line of code and a live chart."""
    explorer.metric.value, explorer.where.value = "load", 'host="h\\"2"'
    press(explorer)
    (view,) = explorer.picture.children
    assert isinstance(view, ChartView)
    assert 'load{host="h\\"2"}' == explorer.query.value
    assert explorer.code.value.startswith("metrics.query('here', 'load{host=")
    assert explorer.said.value.startswith("1 series")


def test_a_query_that_is_typed_is_asked_as_it_is(explorer: MetricExplorer) -> None:
    """Text in the query field goes to the source unchanged, and is asked once."""
    explorer.query.value = "load"
    explorer._work.join(10)
    assert explorer.said.value.startswith("2 series")


@pytest.mark.parametrize(
    ("metric", "where", "says"),
    [("nope", "", "NoData"), ("load", "host=", "ConfigError"), ("<b>x</b>", "", "&lt;b&gt;"), ("", "", "ConfigError")],
)
def test_what_goes_wrong_is_said_in_the_panel(explorer: MetricExplorer, metric: str, where: str, says: str) -> None:
    """No data, a typing error and hostile text are words in the panel; the last picture is gone with its question."""
    explorer.metric.value, explorer.where.value = metric, where
    press(explorer)
    assert says in explorer.said.value
    assert () == explorer.picture.children


def test_without_sources_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty configuration is answered with where to begin."""
    monkeypatch.chdir(tmp_path)
    assert "add a table [sources.NAME]" in MetricExplorer().said.value


def test_a_record_shows_words_and_no_empty_box(explorer: MetricExplorer) -> None:
    """Where nobody looks on, the panel is a sentence."""
    data, _ = explorer._repr_mimebundle_()
    assert "open this notebook in JupyterLab" in data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" not in data
