"""The judge as a gate, with a real Prometheus: what it measures is what was counted, and it stops in the right direction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sretoolkit.config import Config
from sretoolkit.errors import NoData
from sretoolkit.rollout.analysis import preflight
from sretoolkit.rollout.backtest import backtest, placebo
from sretoolkit.rollout.evidence import Counts
from sretoolkit.rollout.judge import Judge
from sretoolkit.rollout.measure import Measure, measured
from sretoolkit.rollout.rollout import Rollout
from tests.stack.prometheus import Prometheus

pytestmark = pytest.mark.live
BEGAN = datetime.fromtimestamp(int(datetime.now(UTC).timestamp()) // 60 * 60, UTC) - timedelta(minutes=90)
DEPLOYED = BEGAN + timedelta(minutes=60)
PODS = {f"web-{number}": 600 for number in range(4)}
CANARIES = {"web-good-0": 1, "web-bad-0": 8}  # how many errors a minute


@pytest.fixture(scope="module")
def server() -> Iterator[Prometheus]:
    """Ninety minutes of four pods of the old version, and thirty of two new ones, scraped twice a minute."""
    lines = ["# TYPE requests counter"]
    for pod in [*PODS, *CANARIES]:
        first = 0 if pod in PODS else 60
        errors = CANARIES.get(pod, 1)
        for code, rate in (("200", 600 - errors), ("500", errors)):
            lines += [
                f'requests_total{{pod="{pod}",code="{code}"}} {rate * half / 2} {BEGAN.timestamp() + first * 60 + 30 * half}'
                for half in range(2 * (90 - first) + 1)
            ]
    with Prometheus(openmetrics="\n".join([*lines, "# EOF", ""])) as started:
        yield started


def config_of(server: Prometheus) -> Config:
    """A configuration that knows the server as ``prod``."""
    return Config.of(sources={"prod": server.options})


def measure(
    candidate: str, *, bad: str = 'requests_total{code=~"5.."}', good: str = "", total: str = "requests_total"
) -> Measure:
    """Errors of one of the canaries beside the old pods."""
    return Measure(
        name="errors",
        source="prod",
        by="pod",
        candidate=candidate,
        baseline="web-[0-9]+",
        bad=bad,
        good=good,
        total=total,
    )


def test_what_is_measured_is_what_was_counted(server: Prometheus) -> None:
    """Each interval of each pod: 600 requests and its own errors; the history is the old version's alone."""
    until = DEPLOYED + timedelta(minutes=20)
    (found,) = measured(
        [measure("web-bad-.*")], since=DEPLOYED, until=until, patience=timedelta(seconds=30), config=config_of(server)
    )

    assert "" == found.trouble
    assert isinstance(found.candidate, Counts)
    assert isinstance(found.baseline, Counts)
    assert isinstance(found.baseline_before, Counts)
    assert ((1, 20), (4, 20), (4, 60), None) == (
        found.candidate.total.shape, found.baseline.total.shape, found.baseline_before.total.shape, found.candidate_before,
    )  # fmt: skip
    np.testing.assert_allclose(found.candidate.bad[:, 2:], 8, rtol=0.02)
    np.testing.assert_allclose(found.baseline.bad, 1, rtol=0.02)
    np.testing.assert_allclose(found.baseline.total, 600, rtol=0.02)


@pytest.mark.parametrize(("candidate", "answer"), [("web-bad-.*", "failed"), ("web-good-.*", "passed")])
def test_the_judge_stops_in_the_right_direction(server: Prometheus, candidate: str, answer: str) -> None:
    """Eight times the errors fail; the same errors pass, once enough of them were seen."""
    one = measure(candidate)
    spent = timedelta(minutes=29)
    found = measured(
        [one], since=DEPLOYED, until=DEPLOYED + spent, patience=timedelta(seconds=30), config=config_of(server)
    )
    judge = Judge.of({"kind": "calibrated"})

    assert answer == judge.judge(found, [one.criterion], elapsed=spent, horizon=timedelta(minutes=30)).answer


def test_good_ones_count_like_bad_ones(server: Prometheus) -> None:
    """All but the good ones are the bad ones."""
    of_good = measure("web-bad-.*", bad="", good='requests_total{code="200"}')
    (found,) = measured(
        [of_good], since=DEPLOYED, until=DEPLOYED + timedelta(minutes=20), patience=timedelta(seconds=30),
        config=config_of(server),
    )  # fmt: skip

    assert isinstance(found.candidate, Counts)
    np.testing.assert_allclose(found.candidate.bad[:, 2:], 8, atol=0.5)


def test_no_requests_and_no_data_and_no_source_are_three_things(server: Prometheus) -> None:
    """Each says what it is, and none of them is an answer."""
    judge = Judge.of({"kind": "calibrated"})
    until = DEPLOYED + timedelta(minutes=20)
    away = Config.of(sources={"prod": {"kind": "prometheus", "url": "http://127.0.0.1:9"}})
    asked = {
        "no data of the candidate": (measure("nobody-.*"), config_of(server)),
        "prod has no data": (measure("web-bad-.*", total="nothing_total"), config_of(server)),
        "prod does not answer": (measure("web-bad-.*"), away),
    }
    for said, (one, config) in asked.items():
        found = measured([one], since=DEPLOYED, until=until, patience=timedelta(seconds=30), config=config)
        told = judge.judge(found, [one.criterion], elapsed=timedelta(minutes=20), horizon=timedelta(minutes=30))
        assert ("error", True) == (told.answer, said in told.reason), told.reason


def test_what_can_be_decided_is_said_before_the_start(server: Prometheus) -> None:
    """Four errors a minute: at 5 % forty minutes tell nothing, at half of all requests they do."""
    report = preflight(
        [measure("web-canary-.*")], {"kind": "calibrated"}, horizon=timedelta(minutes=40), shares=[5, 50],
        config=config_of(server), now=DEPLOYED,
    )  # fmt: skip

    assert ["high"] == [finding.severity for finding in report.findings]
    assert "at 5 %" in report.findings[0].summary
    assert ["NO", "yes"] == [row[-1] for row in report.tables[0].rows]


def service(candidate: str) -> Rollout:
    """A rollout of which only the judge and its measures matter here."""
    part = {"kind": "local", "folder": "/nowhere"}
    return Rollout.of("web", {
        "workload": part, "router": part, "strategy": {"kind": "canary"}, "measures": [measure(candidate).to_dict()],
    })  # fmt: skip


@pytest.mark.parametrize(("candidate", "answer"), [("web-bad-.*", "failed"), ("web-good-.*", "passed")])
def test_a_backtest_says_what_the_judge_would_have_said(server: Prometheus, candidate: str, answer: str) -> None:
    """Asked once, replayed look by look, up to the decision and no further."""
    report = backtest(service(candidate), DEPLOYED, horizon=timedelta(minutes=28), config=config_of(server))

    assert answer == report.tables[0].rows[0][1]
    assert 5 <= report.facts["looks"] <= 28
    assert "errors: evidence" in str(report)


def test_old_instances_in_the_candidates_place_are_not_failed(server: Prometheus) -> None:
    """Four alike: no false alarm; each is judged."""
    report = placebo(service("web-bad-.*"), DEPLOYED, horizon=timedelta(minutes=30), config=config_of(server))

    assert ["info"] == [finding.severity for finding in report.findings]
    assert 4 == len(report.tables[0].rows)


def test_a_backtest_without_data_is_an_error(server: Prometheus) -> None:
    """A time of which nobody knows anything is not called good."""
    with pytest.raises(NoData, match="no data"):
        backtest(
            service("web-bad-.*"), DEPLOYED - timedelta(days=3), horizon=timedelta(minutes=30), config=config_of(server)
        )
