"""What every plug-in of `sretoolkit.metrics.sources` must do, proved by its recordings."""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from sretoolkit import errors
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, SourceError, SourceUnavailable
from sretoolkit.metrics import SeriesFrame, connect
from sretoolkit.metrics.source import SOURCES, VERBS, MetricSource
from tests.recordings.cases import Case, cases
from tests.stack.process import free_port
from tests.stack.replay import replay

KINDS = list(SOURCES)
CASES = [case for kind in KINDS for case in cases(kind)]
GOOD = [case for case in CASES if "values" in case.expected]


@pytest.mark.parametrize("kind", KINDS)
def test_every_capability_is_recorded(kind: str) -> None:
    """A plug-in without a recording of each thing it says it can do, and of a question with no answer, is refused."""
    with connect(f"{kind}+http://127.0.0.1:1") as source:
        able = source.capabilities
    recorded = cases(kind)
    assert able <= {case.call["verb"] for case in recorded}, f"add recordings for {kind}"
    assert {"NoData", "QueryError"} <= {case.expected.get("error") for case in recorded}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recording_gives_what_it_must(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded answer becomes exactly the expected frame, report or error, by exactly the recorded requests."""
    if most := case.call.get("most"):
        monkeypatch.setattr(sys.modules[SOURCES[case.kind].__module__], "MOST_POINTS", most)
    with replay(case.exchanges) as url:
        if "error" not in case.expected:
            case.check(case.answer(url))
            return
        with pytest.raises(getattr(errors, case.expected["error"])) as caught:
            case.answer(url)
        assert case.expected["says"] in caught.value.message
        assert f"{case.kind}+{url}" == caught.value.source
        assert caught.value.query == case.call["query"]
        assert caught.value.hint


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_a_frame_keeps_the_common_shape(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system, a frame is float64 on an even, ascending int64 grid, with a distinct name a series."""
    if most := case.call.get("most"):
        monkeypatch.setattr(sys.modules[SOURCES[case.kind].__module__], "MOST_POINTS", most)
    with replay(case.exchanges) as url:
        frame = case.answer(url)
    assert isinstance(frame, SeriesFrame)
    assert np.dtype(np.int64) == frame.times.dtype
    assert np.dtype(np.float64) == frame.values.dtype
    assert len(frame.names) == len(set(frame.names)) == len(frame)
    assert {frame.interval / timedelta(milliseconds=1)} >= set(np.diff(frame.times).tolist())
    assert frame.query == case.call["query"]
    assert not any(math.isnan(sample.value) for sample in frame.long())


@pytest.mark.parametrize("kind", KINDS)
def test_a_system_that_is_down_is_unavailable_and_its_health_critical(kind: str) -> None:
    """With nobody listening, asking raises a retryable error with a hint, and health is a finding instead."""
    with connect(f"{kind}+http://127.0.0.1:{free_port()}") as source:
        with pytest.raises(SourceUnavailable, match="Connection refused") as caught:
            source.instant("x")
        assert caught.value.retryable
        assert caught.value.hint
        assert source.health().worst == "critical"


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_option_is_refused_with_the_nearest(kind: str) -> None:
    """A misspelt option in the configuration is an error and not ignored."""
    config = Config.of(sources={"prod": {"kind": kind, "url": "http://127.0.0.1:1", "timeot": "5s"}})
    with pytest.raises(ConfigError, match="did you mean 'timeout'"):
        connect("prod", config)


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_system_lacks_is_said(verb: str) -> None:
    """A source without a verb refuses it by name and says what it can do."""

    class Lame(MetricSource):
        pass

    with connect("prometheus+http://127.0.0.1:1") as source:
        lame = Lame(source.endpoint)
    calls: dict[str, dict[str, Any]] = {
        "range": {"query": "x", "window": timedelta(hours=1)},
        "instant": {"query": "x"},
        "health": {},
    }
    with pytest.raises(SourceError, match=f"cannot do {verb}; it can do: nothing"):
        getattr(lame, verb)(**calls[verb])
