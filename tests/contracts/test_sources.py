"""What every plug-in of `sretoolkit.metrics.sources` must do, proved by its recordings."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sretoolkit import errors
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NotExpressible, SourceError
from sretoolkit.metrics import SeriesFrame, connect
from sretoolkit.metrics.compiled import Compiled
from sretoolkit.metrics.events import Event, Window
from sretoolkit.metrics.sli import SLI
from sretoolkit.metrics.source import READS, SOURCES, WRITES, MetricSource
from sretoolkit.metrics.states import CheckState
from tests.recordings.cases import Case, cases
from tests.stack.process import free_port

KINDS = list(SOURCES)
CASES = [case for kind in KINDS for case in cases(kind)]
GOOD = [case for case in CASES if "values" in case.expected]
TAKES_BACK = {"annotate": "retract", "acknowledge": "unacknowledge", "silence": "unsilence"}
NOW = datetime(2026, 11, 1, tzinfo=UTC)
INDICATORS = [
    SLI.error_ratio("errors", bad='requests{code=~"5.."}', total="requests", by=["service"]),
    SLI.latency_quantile("latency", metric="latency_seconds", quantile=0.99),
    SLI.throughput("traffic", total="requests"),
    SLI.saturation("fill", metric="disk_used", capacity="disk_size"),
    SLI.availability("up", entity="h1", check="api", window=timedelta(hours=1)),
]


@pytest.fixture(autouse=True)
def recorded_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret that recordings name in their options."""
    monkeypatch.setenv("RECORDED_SECRET", "recorded-secret-value")


def address(kind: str, tmp_path: Path) -> str:
    """Where nobody is."""
    scheme = SOURCES[kind].schemes[-1]
    return f"{scheme}://{tmp_path}/nothing-here" if scheme == "file" else f"{scheme}://127.0.0.1:{free_port()}"


def lonely(kind: str, tmp_path: Path) -> MetricSource:
    """A source of this kind that nobody answers."""
    return connect(f"{kind}+{address(kind, tmp_path)}")


@pytest.mark.parametrize("kind", KINDS)
def test_every_capability_is_recorded(kind: str, tmp_path: Path) -> None:
    """A plug-in without a recording of each thing it says it can do, and of a question with no answer, is refused."""
    with lonely(kind, tmp_path) as source:
        able = source.capabilities.verbs
    recorded = cases(kind)
    assert able - {"sli"} <= {case.call["verb"] for case in recorded}, f"add recordings for {kind}"
    if able & {"range", "instant"}:
        assert {"NoData", "QueryError"} <= {case.expected.get("error") for case in recorded}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_can_be_taken_back(kind: str) -> None:
    """A plug-in that can annotate, acknowledge or silence can also undo it."""
    plug_in = SOURCES[kind]
    for verb, undo in TAKES_BACK.items():
        can = getattr(plug_in, verb) is not getattr(MetricSource, verb)
        assert can is (getattr(plug_in, undo) is not getattr(MetricSource, undo))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recording_gives_what_it_must(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded answer becomes exactly the expected thing, or error, by exactly the recorded requests."""
    if most := case.call.get("most"):
        monkeypatch.setattr(sys.modules[SOURCES[case.kind].__module__], "MOST_POINTS", most)
    with case.server() as url:
        if "error" not in case.expected:
            case.check(case.answer(url))
            return
        with pytest.raises(getattr(errors, case.expected["error"])) as caught:
            case.answer(url)
        assert case.expected["says"] in caught.value.message
        assert caught.value.source == "recorded"
        assert caught.value.query == case.call.get("query", "")
        assert caught.value.hint


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_a_frame_keeps_the_common_shape(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system, a frame is float64 on an even, ascending int64 grid, with a distinct name a series."""
    if most := case.call.get("most"):
        monkeypatch.setattr(sys.modules[SOURCES[case.kind].__module__], "MOST_POINTS", most)
    with case.server() as url:
        frame = case.answer(url)
    assert isinstance(frame, SeriesFrame)
    assert np.dtype(np.int64) == frame.times.dtype
    assert np.dtype(np.float64) == frame.values.dtype
    assert len(frame.names) == len(set(frame.names)) == len(frame)
    assert {frame.interval / timedelta(milliseconds=1)} >= set(np.diff(frame.times).tolist())
    assert frame.query == case.call["query"]
    assert not any(math.isnan(sample.value) for sample in frame.long())


def arguments(verb: str) -> list[dict[str, Any]]:
    """A call of each verb."""
    check = CheckState(entity="h1", check="api", state="critical", id="1")
    window = Window(NOW - timedelta(hours=1), NOW)
    calls: dict[str, dict[str, Any]] = {
        "range": {"query": "x", "window": timedelta(hours=1)},
        "instant": {"query": "x"},
        "events": {"window": window},
        "annotate": {"event": Event(start=NOW, title="deploy")},
        "retract": {"identifier": "1"},
        "acknowledge": {"check": check, "comment": "on it"},
        "unacknowledge": {"check": check},
        "silence": {"check": check, "window": window, "comment": "planned"},
        "unsilence": {"identifier": "1"},
    }
    return [calls.get(verb, {})]


@pytest.mark.parametrize("kind", KINDS)
def test_a_system_that_is_down_raises_and_its_health_is_critical(kind: str, tmp_path: Path) -> None:
    """With nobody there, whatever is asked raises with a hint and is never an empty answer; health is a finding."""
    with lonely(kind, tmp_path) as source:
        for verb in sorted(source.capabilities.verbs - {"health", "sli", *WRITES}):
            for given in arguments(verb):
                with pytest.raises(SourceError) as caught:
                    getattr(source, verb)(**given)
                assert caught.value.hint
                assert not isinstance(caught.value, NotExpressible | errors.NoData | errors.QueryError)
        assert source.health().worst == "critical"
        assert source.version() == "unknown"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda sli: sli.kind)
def test_an_indicator_is_compiled_or_refused_with_the_reason(kind: str, indicator: SLI, tmp_path: Path) -> None:
    """For each system and kind of SLI there is a native query with a reason, or a reason and what comes nearest."""
    with lonely(kind, tmp_path) as source:
        compiled: Compiled | SourceError
        try:
            compiled = indicator.compiled(source, end=NOW)
        except SourceError as error:
            compiled = error
    if isinstance(compiled, NotExpressible):
        assert compiled.reason
        assert compiled.nearest
    elif not isinstance(compiled, SourceError):  # one that must first ask its system what there is cannot, here
        assert compiled.native.strip()
        assert compiled.reason


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_option_is_refused_with_the_nearest(kind: str, tmp_path: Path) -> None:
    """A misspelt option in the configuration is an error and not ignored."""
    config = Config.of(sources={"prod": {"kind": kind, "url": address(kind, tmp_path), "timeot": "5s"}})
    with pytest.raises(ConfigError, match="did you mean 'timeout'"):
        connect("prod", config)


@pytest.mark.parametrize("verb", sorted({*READS, *WRITES, *TAKES_BACK.values()} - {"sli"}))
def test_what_a_system_lacks_is_said(verb: str) -> None:
    """A source without a verb refuses it by name and says what it can do."""

    class Lame(MetricSource):
        pass

    with connect("prometheus+http://127.0.0.1:1") as source:
        lame = Lame(source.endpoint)
    for given in arguments(verb):
        with pytest.raises(NotExpressible, match=f"cannot do {verb}") as caught:
            getattr(lame, verb)(**given)
        assert "it can do: nothing" in caught.value.hint
