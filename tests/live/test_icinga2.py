"""Against a real Icinga 2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sretoolkit.clock import poll
from sretoolkit.config import Config
from sretoolkit.errors import NoData, NotExpressible, QueryError, SourceError
from sretoolkit.metrics import connect
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.sources.icinga2 import Icinga2 as Source
from sretoolkit.metrics.states import CheckState
from tests.stack.dataset import ERRORS
from tests.stack.icinga2 import Icinga2

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[Icinga2]:
    """An Icinga with its four users."""
    try:
        with Icinga2() as started:
            yield started
    except RuntimeError as error:
        pytest.skip(str(error))


def opened(server: Icinga2, user: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Source:
    """The server with this login."""
    for name, value in server.secrets.items():
        monkeypatch.setenv(name, value)
    found = connect("icinga2", Config.of(sources={"icinga2": {**server.options_of(user), **more}}))
    assert isinstance(found, Source)
    return found


@pytest.fixture
def source(server: Icinga2, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """With all rights, when everything was checked once."""
    with opened(server, "root", monkeypatch) as one:
        assert poll(
            lambda: state(one, "behind").labels and state(one, "h2", "slow").state == "warning",
            timeout=30,
            interval=0.2,
        )
        yield one


def state(source: Source, entity: str, check: str = "") -> CheckState:
    """One of its checks."""
    return next(one for one in source.checks() if (one.entity, one.check) == (entity, check))


def test_states_are_told_apart(source: Source) -> None:
    """Critical, a soft warning, pending, and a host behind a dead one, which is unknown."""
    assert ("critical", True) == (state(source, "h2", "bad").state, state(source, "h2", "bad").hard)
    assert ("warning", False) == (state(source, "h2", "slow").state, state(source, "h2", "slow").hard)
    assert "pending" == state(source, "h2", "never").state
    assert "critical" == state(source, "router").state
    assert ("unknown", {"unreachable": "true"}) == (state(source, "behind").state, state(source, "behind").labels)


def test_three_failures_that_look_alike_are_told_apart(server: Icinga2, monkeypatch: pytest.MonkeyPatch) -> None:
    """No match is an empty answer, a broken filter a query error, a missing permission says which one."""
    with opened(server, "ro", monkeypatch, filter='host.vars.os == "none"') as unmatched:
        assert [] == unmatched.checks()
    for broken in ("host.vars.os ===", "nothing.at_all == 1", 'host.vars.os == "a'):
        with opened(server, "ro", monkeypatch, filter=broken) as source:
            with pytest.raises(QueryError, match="the filter is broken"):
                source.checks()
            assert "critical" == source.health().worst
    with opened(server, "statusonly", monkeypatch) as blind:
        with pytest.raises(SourceError, match="Missing permission: objects/query/host"):
            blind.checks()
        assert "critical" == blind.health().worst
    with opened(server, "ro", monkeypatch) as reader:
        with pytest.raises(SourceError, match="Missing permission: actions/acknowledge-problem"):
            reader.acknowledge(CheckState(entity="h2", check="bad", state="critical"), "x")
        with pytest.raises(SourceError, match="Missing permission: actions/remove-downtime"):
            reader.unsilence("h2!bad!none")
    with opened(server, "h1only", monkeypatch) as partly:
        assert {"h1"} == {one.entity for one in partly.checks()}
        with pytest.raises(SourceError, match="Missing permission: events/"):
            list(partly.follow(0.5))


def test_without_a_diagnosis_the_permissions_are_asked(server: Icinga2, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not say why is told apart all the same."""
    monkeypatch.setattr("sretoolkit.metrics.sources._icinga2_api._said", lambda answer: "No objects found.")
    with opened(server, "statusonly", monkeypatch) as blind, pytest.raises(SourceError, match="no objects/query/Host"):
        blind.checks()
    with opened(server, "ro", monkeypatch, filter="host.vars.os ===") as source, pytest.raises(QueryError):
        source.checks()


def test_a_hostile_name_is_one_value(source: Source) -> None:
    """What would end a filter's text finds nothing and changes nothing."""
    for name in ('" || true || "', "h1\\", "\n", "*", "h?"):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        with pytest.raises(NoData):
            source.instant(f'perfdata{{host="{quoted}"}}')
    assert [[12.0]] == source.instant('latency{host="h1", service="api"}').values.tolist()


def test_a_passive_result_is_read_by_its_state(source: Source) -> None:
    """The result's exit_status stays 0; the state is what was submitted."""
    source._api.act(
        "process-check-result", type="Service", service="h2!passive", exit_status=2, plugin_output="bad",
        performance_data=["n=5"],
    )  # fmt: skip
    try:
        assert ("critical", "bad") == (state(source, "h2", "passive").state, state(source, "h2", "passive").output)
    finally:
        source._api.act("process-check-result", type="Service", service="h2!passive", exit_status=0, plugin_output="ok")


def test_what_is_written_is_seen_and_can_be_undone(source: Source) -> None:
    """Acknowledgement, downtime and marker, each taken back twice."""
    source.acknowledge(state(source, "h2", "bad"), 'on it; "quotes" & <b>\n')
    assert state(source, "h2", "bad").acknowledged
    source.unacknowledge(state(source, "h2", "bad"))
    source.unacknowledge(state(source, "h2", "bad"))
    assert not state(source, "h2", "bad").acknowledged
    now = datetime.now(UTC)
    window = Window(now - timedelta(hours=1), now + timedelta(hours=1))
    number = source.silence(state(source, "h2"), window, "planned")
    assert state(source, "h2").in_downtime
    marker = Event(start=now - timedelta(minutes=9), title='deploy "1.2"', text="a\nb", tags=["host:h1", "team x"])
    written = source.annotate(marker)
    (seen,) = [one for one in source.events(window) if one.id == written]
    assert (marker.start, marker.title, marker.text, marker.tags) == (seen.start, seen.title, seen.text, seen.tags)
    for _ in range(2):
        source.unsilence(number)
        source.retract(written)
    assert not {number, written} & {one.id for one in source.events(window)}
    assert not state(source, "h2").in_downtime


def test_what_cannot_be_done_is_said(source: Source) -> None:
    """No problem to acknowledge, no such host, and no history."""
    with pytest.raises(QueryError, match="is OK"):
        source.acknowledge(state(source, "h1", "api"), "why not")
    with pytest.raises(NoData):
        source.annotate(Event(start=datetime.now(UTC), title="x", tags=["host:nobody"]))
    with pytest.raises(NotExpressible) as caught:
        ERRORS.measure(source)
    assert "GraphiteWriter" in caught.value.nearest
    with pytest.raises(NotExpressible, match="no history"):
        source.range("x", window=timedelta(hours=1))


def test_the_stream_tells_what_happens(source: Source) -> None:
    """Within its five seconds of delay, changes of state come in their order."""
    heard = list(source.follow(7))
    assert "h2/slow warning (soft)" in [one.title for one in heard]
    assert sorted(one.start for one in heard) == [one.start for one in heard]
