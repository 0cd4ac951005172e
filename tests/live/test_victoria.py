"""Against a real VictoriaMetrics, which speaks Prometheus' API in its own way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sretoolkit.errors import NoData, QueryError
from sretoolkit.metrics import connect
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources._prometheus_raw import Raw
from sretoolkit.metrics.sources.prometheus import Prometheus as Source
from tests.live.test_prometheus_versions import HOSTILE
from tests.stack.dataset import ERRORS, METRIC, Dataset
from tests.stack.victoria import Victoria

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Requests that ended a minute ago."""
    return Dataset.recent()


@pytest.fixture(scope="module")
def source(dataset: Dataset) -> Iterator[Source]:
    """A server with the data set and a series for each hostile value."""
    with Victoria() as server:
        server.write(
            ({"__name__": "hostile", "path": value}, {dataset.end - 10: number + 1.0, dataset.end: number + 2.0})
            for number, value in enumerate(HOSTILE)
        )
        server.load(dataset)
        with connect(server.source) as opened:
            assert isinstance(opened, Source)
            yield opened


@pytest.mark.parametrize("exact", [False, True], ids=["server", "exact"])
def test_the_error_ratio_is_exact(source: Source, dataset: Dataset, exact: bool) -> None:
    """VictoriaMetrics counts from the sample before the window, and so do we from its raw samples."""
    frame = ERRORS.measure(source, end=dataset.moment, exact=exact)
    found = {labels["service"]: float(frame.values[0, column]) for column, labels in enumerate(frame.labels)}
    assert dataset.exact() == pytest.approx(found, rel=1e-9)


def test_raw_samples_come_by_export(source: Source, dataset: Dataset) -> None:
    """Without remote read the export page gives the same as a query for a range of samples."""

    def found() -> dict[str, tuple[list[int], list[float]]]:
        series = source.raw(Selector(METRIC), (dataset.end - 600) * 1000, dataset.end * 1000)
        return {str(sorted(one.labels.items())): (one.times.tolist(), one.values.tolist()) for one in series}

    exported = found()
    assert Raw._export is source._raw._ways[0]
    ways, source._raw._ways = source._raw._ways, [Raw._selected]
    try:
        assert exported == found()
    finally:
        source._raw._ways = ways
    assert (16, {60}) == (len(exported), {len(times) for times, _ in exported.values()})


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_label_value_finds_its_series(source: Source, dataset: Dataset, value: str) -> None:
    """Each value selects its own series and nothing else, as a value and as a group."""
    sli = SLI.saturation("s", metric=Selector.of("hostile", path=value), by=["path"], window=timedelta(minutes=1))
    for exact in (False, True):
        frame = sli.measure(source, end=dataset.moment, exact=exact)
        assert ([[HOSTILE.index(value) + 2.0]], [{"path": value}]) == (frame.values.tolist(), list(frame.labels))


def test_a_range_keeps_the_moments_that_the_server_answered(dataset: Dataset) -> None:
    """As it is set up usually, it moves moments to whole steps; the frame says so instead of shifting the values."""
    end = datetime.fromtimestamp(dataset.end - 7, UTC)
    totals: dict[int, float] = defaultdict(float)
    for _, points in dataset.labelled():
        for point in points:
            totals[point.time] += point.total
    with Victoria(caching=True) as server:
        server.load(dataset)
        with connect(server.source) as source:
            frame = source.range(f"sum({METRIC})", window=timedelta(minutes=20), step=timedelta(seconds=20), end=end)
    assert {0} == {time % 20_000 for time in frame.times.tolist()}
    assert ["the server moved every moment by 7 s, to whole steps"] == frame.warnings
    seen = ~np.isnan(frame.values[:, 0])
    assert seen.sum() >= len(seen) - 1
    times = frame.times[seen].tolist()
    np.testing.assert_allclose(frame.values[seen, 0], [totals[time // 1000] for time in times])


def test_a_bad_question_is_answered_in_its_words(source: Source) -> None:
    """What is wrong or not there raises."""
    with pytest.raises(NoData, match="no data for nothing_here"):
        source.instant("nothing_here")
    with pytest.raises(QueryError, match="unexpected token"):
        source.instant("sum(up")


def test_what_it_lacks_is_empty_and_not_wrong(source: Source) -> None:
    """Without rules and targets there are no checks and no hosts; health says that it does not tell about itself."""
    assert ([], []) == (source.checks(), source.discover())
    assert "info" == source.health().worst
