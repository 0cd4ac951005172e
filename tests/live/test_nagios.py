"""Against a real Nagios 4 whose log of states we wrote ourselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError, SourceUnavailable
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Window
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import MetricSource
from sretoolkit.metrics.states import CheckState
from tests.stack.dataset import ERRORS
from tests.stack.nagios import Nagios

pytestmark = pytest.mark.live

START = int(time.time()) - 4000
LOG = [
    f"[{START}] CURRENT SERVICE STATE: h1;past;OK;HARD;1;fine",
    f"[{START + 2000}] SERVICE ALERT: h1;past;CRITICAL;HARD;1;broken",
    f"[{START + 2237}] SERVICE ALERT: h1;past;OK;HARD;1;fine",
    f"[{START + 2300}] SERVICE ALERT: h1;past;CRITICAL;SOFT;1;only once",
    f"[{START + 2400}] SERVICE ALERT: h1;past;OK;SOFT;2;fine",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Nagios]:
    """A Nagios that has checked everything once."""
    try:
        with Nagios(log=LOG) as started:
            with pytest.MonkeyPatch.context() as patch, opened(started, "nagiosadmin", patch) as one:
                assert poll(lambda: _pending(one) == 2, timeout=30, interval=0.2)  # the two passive ones
            yield started
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def source(server: Nagios, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricSource]:
    """With all rights."""
    with opened(server, "nagiosadmin", monkeypatch) as one:
        yield one


def opened(server: Nagios, user: str, monkeypatch: pytest.MonkeyPatch) -> MetricSource:
    """The server with this login."""
    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    return connect("nagios", Config.of(sources={"nagios": server.options_of(user)}))


def _pending(source: MetricSource) -> int:
    return sum(state.state == "pending" for state in source.checks())


def state(source: MetricSource, entity: str, check: str = "") -> CheckState:
    """One of its checks."""
    return next(one for one in source.checks() if (one.entity, one.check) == (entity, check))


@pytest.mark.parametrize(
    ("end", "width", "expected"),
    [(2500, 1000, 763 / 1000), (2237, 237, 0.0), (2236, 300, 64 / 300), (2238, 2, 0.5), (1900, 1900, 1.0)],
)
def test_availability_is_exact_to_the_second(source: MetricSource, end: int, width: int, expected: float) -> None:
    """The part of the window in which the check was ok is what the log says; a state that was not confirmed is not bad."""
    sli = SLI.availability("past", entity="h1", check="past", window=timedelta(seconds=width))
    frame = sli.measure(source, end=datetime.fromtimestamp(START + end, UTC))
    assert ([[expected]], [], True) == (frame.values.tolist(), frame.warnings, frame.complete)


def test_time_that_nobody_knows_is_neither_ok_nor_bad(source: MetricSource) -> None:
    """A window that begins before the log does says how much is unknown; one wholly before has no data."""
    sli = SLI.availability("past", entity="h1", check="past", window=timedelta(seconds=1000))
    frame = sli.measure(source, end=datetime.fromtimestamp(START + 400, UTC))
    assert ([[1.0]], False) == (frame.values.tolist(), frame.complete)
    assert "for 600 s no state is known" in frame.warnings[0]
    with pytest.raises(NoData):
        sli.measure(source, end=datetime.fromtimestamp(START - 100, UTC))


def test_states_are_told_apart(source: MetricSource) -> None:
    """Critical, a soft warning, pending, and a host behind a dead one, which is unknown."""
    assert ("critical", True) == (state(source, "h2", "bad").state, state(source, "h2", "bad").hard)
    assert ("warning", False) == (state(source, "h2", "slow").state, state(source, "h2", "slow").hard)
    assert "pending" == state(source, "h2", "passive").state
    assert "critical" == state(source, "router").state
    assert poll(lambda: state(source, "behind").labels == {"unreachable": "true"}, timeout=20, interval=0.2)
    assert "unknown" == state(source, "behind").state


def test_a_request_ratio_is_refused_with_what_comes_nearest(source: MetricSource) -> None:
    """No values are kept: nothing is made up from states."""
    with pytest.raises(NotExpressible) as caught:
        ERRORS.measure(source)
    assert "availability" in caught.value.nearest


def test_an_acknowledgement_is_read_back_and_can_be_undone(source: MetricSource) -> None:
    """It stands when the call returns, and is gone when the other returns; what is ok cannot be acknowledged."""
    source.acknowledge(state(source, "h2", "bad"), 'on it; "quotes" & <b>\n')
    assert state(source, "h2", "bad").acknowledged
    source.unacknowledge(state(source, "h2", "bad"))
    assert not state(source, "h2", "bad").acknowledged
    with pytest.raises(QueryError, match="no problem"):
        source.acknowledge(state(source, "h1", "api"), "why not")


@pytest.mark.parametrize(("entity", "check"), [("h2", "bad"), ("h1", "")])
def test_a_downtime_begins_and_ends(source: MetricSource, entity: str, check: str) -> None:
    """Its times are exactly those asked for, of a service and of a host; ending it twice is fine."""
    now = datetime.now(UTC).replace(microsecond=0)
    window = Window(now, now + timedelta(hours=3))
    number = source.silence(state(source, entity, check), window, "planned")
    (seen,) = [one for one in source.events(window) if one.id == number]
    assert window == (seen.start, seen.end)
    assert poll(lambda: state(source, entity, check).in_downtime, timeout=10, interval=0.2)
    source.unsilence(number)
    source.unsilence(number)
    assert not [one for one in source.events(window) if one.id == number]


def test_the_log_is_told_as_events(source: MetricSource) -> None:
    """Each change with its time, confirmed or not."""
    window = Window(datetime.fromtimestamp(START, UTC), datetime.fromtimestamp(START + 2500, UTC))
    assert [
        "h1/past critical (hard)", "h1/past ok (hard)", "h1/past critical (soft)", "h1/past ok (soft)",
    ] == [one.title for one in source.events(window)]  # fmt: skip


def test_a_login_without_rights_is_not_an_empty_system(server: Nagios, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nagios gives it empty lists; that is never shown as "nothing is wrong"."""
    with opened(server, "guest", monkeypatch) as guest:
        for ask in (guest.checks, guest.discover):
            with pytest.raises(SourceError, match="may see none"):
                ask()
        with pytest.raises(SourceError, match="not authorized to commit"):
            guest.acknowledge(CheckState(entity="h2", check="bad", state="critical"), "x")
        assert "critical" == guest.health().worst


@pytest.mark.parametrize("spelling", ["us", "euro", "strict-iso8601"])
def test_a_downtime_is_right_in_every_date_format(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form takes local times in the server's own spelling; a core that has stopped is not asked in vain."""
    with Nagios(date_format=spelling) as server, opened(server, "nagiosadmin", monkeypatch) as source:
        now = datetime.now(UTC).replace(microsecond=0)
        window = Window(now + timedelta(days=20), now + timedelta(days=21))
        number = source.silence(CheckState(entity="h2", check="bad", state="critical"), window, "planned")
        assert number in [one.id for one in source.events(window)]
        server.core.stop()
        with pytest.raises(SourceUnavailable, match="answers with nothing"):
            source.checks()
        assert "critical" == source.health().worst
