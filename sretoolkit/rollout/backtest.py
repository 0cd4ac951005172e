"""The judge on the past: what it would have said of a deploy that is over, and how often it is wrong about a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from sretoolkit.clock import parse_moment
from sretoolkit.config import Config
from sretoolkit.errors import ConfigError, NoData
from sretoolkit.report import Finding, Report, Table
from sretoolkit.rollout.analysis import evidence_report
from sretoolkit.rollout.evidence import Counts, Evidence, Gauges
from sretoolkit.rollout.judge import Judge, Judgement
from sretoolkit.rollout.measure import Measure, measured
from sretoolkit.rollout.rollout import Rollout

_PATIENCE = timedelta(minutes=1)
Look = tuple[datetime, Mapping[str, Any]]


def backtest(rollout: Rollout, deployed: datetime | str, *, horizon: timedelta, config: Config | None = None) -> Report:
    """What the rollout's judge would have said at every interval after ``deployed``, until it had decided.

    The sources are asked once, for the whole time. Raises `ConfigError` without measures, `NoData` without any data.
    """
    deployed = _moment(deployed)
    found = _past(rollout, deployed, deployed + horizon, config)
    looks, last = _replayed(rollout, found, deployed, horizon)
    report = evidence_report(looks, title=f"{rollout.name}, deployed {deployed:%Y-%m-%d %H:%M} UTC")
    return replace(report, tables=[last.table()], facts={"judge": rollout.judge["kind"], "looks": len(looks)})


def placebo(rollout: Rollout, until: datetime | str, *, horizon: timedelta, config: Config | None = None) -> Report:
    """Each old instance called the candidate once, over the ``horizon`` before ``until``, when nothing was new.

    What fails then is a false alarm of this judge on this service: more than it promises is a finding.
    """
    until = _moment(until)
    found = _past(rollout, until - horizon, until, config)
    rows = []
    for instance in range(max((_instances(one) for one in found), default=0)):
        swapped = [_as_candidate(one, instance) for one in found]
        _, last = _replayed(rollout, swapped, until - horizon, horizon)
        rows.append((instance + 1, last.answer, last.reason))
    wrong = sum(answer == "failed" for _, answer, _ in rows)
    summary = f"{wrong} of {len(rows)} old instances would have been failed, though nothing was new"
    finding = Finding(
        severity="high" if wrong else "info",
        subject=rollout.name,
        summary=summary,
        remedy="tolerate more (tolerated), or measure what differs less between instances" if wrong else "",
    )
    return Report(f"False alarms on {rollout.name}", [finding], [Table("", ("instance", "answer", "why"), rows)])


def _moment(given: datetime | str) -> datetime:
    return parse_moment(given) if isinstance(given, str) else given


def _past(rollout: Rollout, since: datetime, until: datetime, config: Config | None) -> list[Evidence]:
    if not rollout.measures:
        raise ConfigError(f"the rollout {rollout.name} has no measures", hint="a judge needs something to judge by")
    found = measured(rollout.measures, since=since, until=until, patience=_PATIENCE, config=config)
    troubles = [f"{one.metric}: {one.trouble}" for one in found if one.trouble]
    if len(troubles) == len(found):
        source = rollout.measures[0].source
        raise NoData("; ".join(troubles), source=source, hint="is the time right, and do the selectors name anything?")
    return found


def _replayed(
    rollout: Rollout, found: Sequence[Evidence], began: datetime, horizon: timedelta
) -> tuple[list[Look], Judgement]:
    """Look after look, as the gate would have; ends with the decision."""
    judge, criteria = Judge.of(rollout.judge), [measure.criterion for measure in rollout.measures]
    step = max(rollout.look, *(measure.interval for measure in rollout.measures))
    looks: list[Look] = []
    for number in range(1, int(horizon / step) + 1):
        elapsed = number * step
        then = [_until(one, measure, elapsed) for one, measure in zip(found, rollout.measures, strict=True)]
        told = judge.judge(then, criteria, elapsed=elapsed, horizon=horizon)
        looks.append((began + elapsed, told.verdict().to_dict()))
        if told.answer in ("passed", "failed", "inconclusive"):
            break
    return looks, told


def _until(one: Evidence, measure: Measure, elapsed: timedelta) -> Evidence:
    """What was known by then."""
    columns = int(elapsed / measure.interval)
    return replace(one, candidate=_columns(one.candidate, columns), baseline=_columns(one.baseline, columns))


def _columns(data: Counts | Gauges, columns: int) -> Counts | Gauges:
    if isinstance(data, Gauges):
        return Gauges(data.value[:, :columns])
    return Counts(data.total[:, :columns], data.bad[:, :columns])


def _instances(one: Evidence) -> int:
    data = one.baseline
    return int((data.value if isinstance(data, Gauges) else data.total).shape[0])


def _as_candidate(one: Evidence, instance: int) -> Evidence:
    """An old instance in the candidate's place, with its own history."""

    def parts(data: Counts | Gauges | None) -> tuple[Counts | Gauges | None, Counts | Gauges | None]:
        if data is None:
            return None, None
        rows = np.arange((data.value if isinstance(data, Gauges) else data.total).shape[0]) == instance
        if isinstance(data, Gauges):
            return Gauges(data.value[rows]), Gauges(data.value[~rows])
        return Counts(data.total[rows], data.bad[rows]), Counts(data.total[~rows], data.bad[~rows])

    now, before = parts(one.baseline), parts(one.baseline_before)
    assert now[0] is not None
    assert now[1] is not None
    return replace(one, candidate=now[0], baseline=now[1], candidate_before=before[0], baseline_before=before[1])
