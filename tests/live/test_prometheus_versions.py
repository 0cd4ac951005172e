"""What must hold on Prometheus 2 and 3 alike, with an Alertmanager and a Pushgateway: indicators, raw samples, alerts."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NoData, QueryError
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Window
from sretoolkit.metrics.matcher import Selector
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.sources import _prometheus_protobuf as protobuf
from sretoolkit.metrics.sources._prometheus_raw import Raw
from sretoolkit.metrics.sources.prometheus import Prometheus as Source
from sretoolkit.metrics.states import CheckState
from tests.stack.dataset import ERRORS, METRIC, Dataset
from tests.stack.prometheus import Prometheus, openmetrics_name

pytestmark = pytest.mark.live

HOSTILE = [
    'a"b', "a\\", "\\\\n", "line\nbreak", "tab\there", "é ☃ 𝄞", '"} or vector(1) #', "'", "`", "{}[](),=~!",
    ".*", "a|b", "$1", "%s", " ", "\x7f\x01", "x" * 2000,
]  # fmt: skip


def history(dataset: Dataset) -> str:
    """The data set, and a counter with a hostile label a series."""
    lines = [f"# TYPE {METRIC} unknown"]
    for labels, points in dataset.labelled():
        lines += [f"{openmetrics_name(METRIC, labels)} {point.total} {point.time}" for point in points]
    lines.append("# TYPE hostile unknown")
    for number, value in enumerate(HOSTILE):
        name = openmetrics_name("hostile", {"path": value})
        lines += [f"{name} {number + 1}00 {dataset.end - 10}", f"{name} {number + 2}00 {dataset.end}"]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Requests that ended a minute ago."""
    return Dataset.recent()


@pytest.fixture(scope="module", params=["", "3"], ids=["2", "3"])
def server(request: pytest.FixtureRequest, dataset: Dataset) -> Iterator[Prometheus]:
    """A server of either version, with all its companions and the data set."""
    with Prometheus(openmetrics=history(dataset), version=request.param, alerting=True, pushed=True) as running:
        yield running


@pytest.fixture
def source(server: Prometheus) -> Iterator[Source]:
    """The source, with its Alertmanager."""
    with connect("prod", Config.of(sources={"prod": server.options})) as opened:
        assert isinstance(opened, Source)
        yield opened


def measured(source: Source, dataset: Dataset, *, exact: bool) -> dict[str, float]:
    """The error ratio of each service."""
    frame = ERRORS.measure(source, end=dataset.moment, exact=exact)
    return {labels["service"]: float(frame.values[0, column]) for column, labels in enumerate(frame.labels)}


def test_the_exact_error_ratio_is_exact(source: Source, dataset: Dataset) -> None:
    """From raw samples the ratio is what the requests say, whatever the version."""
    assert dataset.exact() == pytest.approx(measured(source, dataset, exact=True), rel=1e-9)


def test_the_servers_own_error_ratio_is_exact_or_said_to_be_estimated(
    source: Source, server: Prometheus, dataset: Dataset
) -> None:
    """Prometheus 2 happens to agree here; Prometheus 3, which sees one sample less, does not, and both say: estimated."""
    found, exact = measured(source, dataset, exact=False), dataset.exact()
    agrees = all(abs(found[name] / exact[name] - 1) < 1e-9 for name in exact)
    assert agrees is (server.version == "")
    assert exact == pytest.approx(found, rel=0.05)
    assert "extrapolates" in ERRORS.compiled(source).estimated


def test_a_delta_is_summed_exactly_by_the_server(source: Source, dataset: Dataset) -> None:
    """Each sample in (t - window, t] counts once, whether the version looks at the window's start or not."""
    sli = SLI.throughput("t", total=METRIC, counter="delta", window=timedelta(minutes=10))
    begin = dataset.end - 600
    total = sum(
        point.total for _, points in dataset.labelled() for point in points if begin < point.time <= dataset.end
    )
    for exact in (False, True):
        frame = sli.measure(source, end=dataset.moment, exact=exact)
        np.testing.assert_allclose(frame.values, [[total / 600]], rtol=1e-12)


def test_a_range_of_an_indicator_is_the_same_both_ways(source: Source, server: Prometheus, dataset: Dataset) -> None:
    """At each step of a longer window the raw samples give what the intervals say."""
    frame = ERRORS.range(
        source, window=timedelta(minutes=5), step=timedelta(seconds=30), end=dataset.moment, exact=True
    )
    expected = [[dataset.exact(end=time // 1000)[name] for name in ("api", "web")] for time in frame.times.tolist()]
    np.testing.assert_allclose(frame.values, expected, rtol=1e-9)


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_label_value_finds_its_series(source: Source, dataset: Dataset, value: str) -> None:
    """Each value selects its own series and nothing else, in PromQL and in remote read, as a value and as a group."""
    number = HOSTILE.index(value)
    sli = SLI.saturation("s", metric=Selector.of("hostile", path=value), by=["path"], window=timedelta(minutes=1))
    for exact in (False, True):
        frame = sli.measure(source, end=dataset.moment, exact=exact)
        assert ([[100.0 * (number + 2)]], [{"path": value}]) == (frame.values.tolist(), list(frame.labels))


def test_raw_samples_are_the_same_on_every_way(
    source: Source, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed chunks, packed samples and a query for a range of samples give the same series, to the last bit."""
    window = ((dataset.end - 1000) * 1000 - 1, dataset.end * 1000)

    def found() -> dict[str, tuple[list[int], list[float]]]:
        return {
            str(sorted(one.labels.items())): (one.times.tolist(), one.values.tolist())
            for one in source.raw(Selector(METRIC), *window)
        }

    streamed = found()
    assert Raw._remote_read is source._raw._ways[0]
    request = protobuf.request
    monkeypatch.setattr(protobuf, "request", lambda one, start, end, _: request(one, start, end, (protobuf.SAMPLES,)))
    packed = found()
    source._raw._ways = [Raw._selected]
    assert streamed == packed == found()
    points = {str(sorted({"__name__": METRIC, **labels}.items())): points for labels, points in dataset.labelled()}
    assert {name: [point.total for point in points[name][-101:]] for name in points} == {
        name: values for name, (_, values) in streamed.items()
    }


def test_a_label_that_the_server_adds_for_others_is_not_a_series_own(source: Source, dataset: Dataset) -> None:
    """Remote read adds the server's external labels (here replica="a"); raw samples are selected as PromQL selects."""
    window = ((dataset.end - 100) * 1000, dataset.end * 1000)
    assert {"code", "host", "service", "__name__"} == set(source.raw(Selector(METRIC), *window)[0].labels)
    assert [] == source.raw(Selector.of(METRIC, replica="a"), *window)


def test_a_native_histogram_is_refused_as_numbers_and_asked_for_its_quantile(
    source: Source, server: Prometheus
) -> None:
    """A native histogram has no place in a frame, the hint names what has; a latency is its quantile."""
    now = int(datetime.now(UTC).timestamp())
    server.write_histogram("latency", [now - 40, now - 20, now])
    at = datetime.fromtimestamp(now, UTC)
    with pytest.raises(QueryError, match="native histograms, not numbers") as caught:
        source.instant("latency", at=at)
    assert "histogram_quantile" in caught.value.hint
    assert [[60.0]] == source.instant("histogram_count(latency)", at=at).values.tolist()
    with pytest.raises(QueryError, match="native histograms"):
        source.raw(Selector("latency"), (now - 100) * 1000, now * 1000)
    frame = SLI.latency_quantile("l", metric="latency", quantile=0.5, window=timedelta(minutes=1)).measure(
        source, end=at
    )
    np.testing.assert_allclose(frame.values, [[2.0]], rtol=1e-9)


def test_alerts_rules_and_targets_are_checks(source: Source) -> None:
    """What fires is critical, what waits is not hard yet, what is quiet is ok, and a target that is down is critical."""

    def states() -> dict[str, CheckState]:
        return {state.check: state for state in source.checks()}

    assert poll(lambda: states().get("down", None) and states()["down"].state == "critical", timeout=30)
    assert poll(lambda: states()["AlwaysFiring"].hard and states()["Soon"].state == "warning", timeout=30)
    assert poll(lambda: {"ok"} == {states()[name].state for name in ("node", "Never")}, timeout=30)
    found = states()
    assert ("critical", True, "it burns") == (
        found["AlwaysFiring"].state,
        found["AlwaysFiring"].hard,
        found["AlwaysFiring"].output,
    )
    assert ("warning", False) == (found["Soon"].state, found["Soon"].hard)
    assert ("ok", "shop") == (found["Never"].state, found["Never"].entity)
    assert "connection refused" in found["down"].output
    assert ("ok", "127.0.0.1") == (found["node"].state, found["node"].entity)
    assert found["AlwaysFiring"].since is not None


def test_an_alert_is_silenced_and_no_longer(source: Source) -> None:
    """A silence of one check shows as its downtime and as an event, leaves the others alone, and ends when it is ended."""

    def firing() -> CheckState:
        (found,) = [state for state in source.checks() if state.check == "AlwaysFiring"]
        return found

    assert poll(lambda: firing().id, timeout=60)
    assert not firing().in_downtime
    window = Window(datetime.now(UTC), datetime.now(UTC) + timedelta(hours=1))
    identifier = source.silence(firing(), window, 'sre-0123 planned "work"\n')
    assert poll(lambda: firing().in_downtime, timeout=30)
    assert not firing().actionable
    events = [
        event
        for event in source.events(Window(window.start - timedelta(minutes=1), window.end))
        if event.id == identifier
    ]
    assert ["silence"] == [event.tags[0] for event in events]
    assert "sre-0123 planned" in events[0].text
    source.unsilence(identifier)
    assert poll(lambda: not firing().in_downtime, timeout=30)
    source.unsilence(identifier)
    source.unsilence("00000000-0000-0000-0000-000000000000")


def test_the_past_of_alerts_is_events(source: Source) -> None:
    """From when an alert fires is an event without an end while it still does."""

    def events() -> dict[str, object]:
        now = datetime.now(UTC)
        return {event.title: event.end for event in source.events(Window(now - timedelta(minutes=5), now))}

    assert poll(lambda: "AlwaysFiring firing" in events(), timeout=30)
    assert events()["AlwaysFiring firing"] is None
    assert not [title for title in events() if "Never" in title]


def test_hosts_are_discovered(source: Source) -> None:
    """Targets on one host are one entity with its jobs, and its address."""
    assert poll(lambda: len(source.targets()) == 4, timeout=30)
    (found,) = source.discover()
    assert ("127.0.0.1", "127.0.0.1") == (found.name, found.address)
    assert ["down", "node", "prometheus", "push"] == list(found.services)


def test_what_is_pushed_is_there(source: Source, server: Prometheus) -> None:
    """A batch job's metric comes through the Pushgateway with the job's own labels, and goes with its group."""
    group = f"{server.pushgateway}/metrics/job/backup/instance/db-1"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(group, b"backup_bytes 4096\n", method="PUT"), timeout=10):
        pass

    def pushed() -> bool:
        try:
            frame = source.instant('backup_bytes{job="backup",instance="db-1"}')
        except NoData:
            return False
        return bool(frame.values.tolist() == [[4096.0]] and frame.unit == "B")

    assert poll(pushed, timeout=30)
    with opener.open(urllib.request.Request(group, method="DELETE"), timeout=10):
        pass
    assert poll(lambda: not pushed(), timeout=30)


def test_availability_is_of_the_scrapes(source: Source) -> None:
    """An entity's check is a job: that of the target that is down is 0, that of the exporter 1."""

    def scraped() -> bool:
        try:
            return len(source.instant("up")) == 4
        except NoData:
            return False

    assert poll(scraped, timeout=30)
    for job, expected in (("down", 0.0), ("node", 1.0)):
        sli = SLI.availability("a", entity="127.0.0.1", check=job, window=timedelta(minutes=1))
        for exact in (False, True):
            assert [[expected]] == sli.measure(source, exact=exact).values.tolist()
