"""The judge as a gate: it measures both sides at each look, and lets the rollout on, takes it back, or looks again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sretoolkit.chart import Chart, Line, Threshold
from sretoolkit.chart.scale import milliseconds
from sretoolkit.clock import Clock, format_duration
from sretoolkit.config import Config
from sretoolkit.plan import Context, Verdict
from sretoolkit.report import Finding, Report, Table
from sretoolkit.rollout.gates import Standing, elapsed
from sretoolkit.rollout.judge import Judge, Power
from sretoolkit.rollout.measure import Measure, measured

_ANSWER = timedelta(seconds=30)  # a source that has not answered by then is away for this look


@dataclass(frozen=True, kw_only=True)
class Analysis(Standing):
    """Judges the candidate since this gate opened, at every ``interval``, for at most ``horizon``.

    A failed metric fails it at once. A source that is away, a metric without data, a candidate without requests are no
    answer: the rollout waits for at most ``patience`` in a row, and never passes on them.
    """

    judge: dict[str, Any]
    measures: tuple[dict[str, Any], ...]

    def describe(self) -> str:
        """What is asked of which metrics."""
        names = ", ".join(each["name"] for each in self.measures)
        longest = format_duration(self.horizon)
        return f"{self.judge['kind']} judges {names} every {format_duration(self.interval)}, for at most {longest}"

    def check(self, ctx: Context) -> Verdict:
        """One look."""
        spent = elapsed(ctx)
        since = _since(ctx)
        about: dict[str, Any] = {"since": since.isoformat(), "elapsed": spent.total_seconds()}
        wrong = self.unchanged(ctx)
        if wrong is not None:
            return wrong
        measures = [Measure.of(each) for each in self.measures]
        longest = max(each.interval for each in measures)
        now = ctx.clock.now()
        if now - since < longest:  # nothing can be there yet, and that is no trouble
            return Verdict("continue", f"the first interval of {format_duration(longest)} is not over", about)
        evidence = measured(measures, since=since, until=now, patience=_ANSWER, config=ctx.config)
        criteria = [each.criterion for each in measures]
        judgement = Judge.of(self.judge).judge(evidence, criteria, elapsed=spent, horizon=self.horizon)
        return judgement.verdict(**about)


def _since(ctx: Context) -> datetime:
    """When this gate was first looked at, also by a runner before us."""
    told = [look["evidence"]["since"] for look in ctx.evidence if "since" in look.get("evidence", {})]
    return datetime.fromisoformat(told[0]) if told else ctx.clock.now()


def preflight(
    measures: Sequence[Measure],
    judge: Mapping[str, Any],
    *,
    horizon: timedelta,
    shares: Sequence[int],
    config: Config | None = None,
    now: datetime | None = None,
) -> Report:
    """What the judge can decide at each share (percent) by the horizon, from the old version's last hour.

    A metric that cannot pass in time is a finding of severity high, with what would let it: such a rollout ends as
    inconclusive, whatever the candidate does.
    """
    now = now or Clock().now()
    found = measured(measures, since=now, until=now, patience=_ANSWER, config=config)
    criteria = [each.criterion for each in measures]
    live = sum(1 for each in criteria if not each.informational)
    asked = Judge.of(judge)
    rows: list[tuple[Any, ...]] = []
    findings: list[Finding] = []
    for evidence, criterion in zip(found, criteria, strict=True):
        if evidence.trouble and evidence.baseline_before is None:
            findings.append(
                _finding(criterion.name, evidence.trouble, "mend that first: without data nothing passes", "high")
            )
            continue
        for share in shares:
            power = asked.power(evidence, criterion, horizon=horizon, share=share / 100, among=max(1, live))
            if power is None:
                what = "this judge does not tell beforehand what it can decide"
                findings.append(_finding(criterion.name, what, "", "info"))
                break
            rows.append(_row(power, share, criterion.worth))
            if not power.decides and not criterion.informational:
                findings.append(_undecided(power, share, criterion.worth))
    columns = ("metric", "share", "bad events expected", "smallest regression to rule out", "time to pass", "decides")
    return Report(
        f"What can be decided in {format_duration(horizon)} at each share",
        findings,
        [Table("", columns, rows)] if rows else [],
    )


def evidence_report(looks: Sequence[tuple[datetime, Mapping[str, Any]]], *, title: str) -> Report:
    """What the looks of one gate said, as the journal keeps them: the evidence of each metric, and its last sentence.

    ``looks``: the moment and the verdict of each, oldest first. The curves are parts of the boundary that decides: at 1 the
    candidate has failed, or has passed.
    """
    metrics = list(dict.fromkeys(name for _, look in looks for name in look.get("evidence", {}).get("metrics", {})))
    charts = [chart for name in metrics for chart in (_curve(name, looks), _both(name, looks)) if chart]
    rows = [(name, *_last(name, looks)) for name in metrics]
    findings = []
    if looks:
        last = looks[-1][1]
        severity = {"failed": "high", "passed": "info"}.get(str(last["answer"]), "medium")
        findings.append(Finding(severity=severity, subject=title, summary=f"{last['answer']}: {last['reason']}"))  # type: ignore[arg-type]
    return Report(title, findings, [Table("last said", ("metric", "answer", "why"), rows)] if rows else [], charts)


def _curve(name: str, looks: Sequence[tuple[datetime, Mapping[str, Any]]]) -> Chart:
    told = [
        (at, look["evidence"]["metrics"][name]) for at, look in looks if name in look["evidence"].get("metrics", {})
    ]
    lines = [
        Line(label, [milliseconds(at) for at, _ in told], [each.get(key, float("nan")) for _, each in told])
        for label, key in (("that it is worse", "fail"), ("that it is fine", "passes"))
    ]
    return Chart(f"{name}: evidence", "", lines, thresholds=[Threshold(1.0, "decided")])


def _both(name: str, looks: Sequence[tuple[datetime, Mapping[str, Any]]]) -> Chart | None:
    """The candidate beside the old version: of counts the part that was bad so far, of gauges the mean; None when not told."""
    found = [(at, look["evidence"]["metrics"].get(name, {})) for at, look in looks if "metrics" in look["evidence"]]
    told = [(at, _sides(numbers)) for at, numbers in found if _sides(numbers)]
    if not told:
        return None
    times = [milliseconds(at) for at, _ in told]
    sides = zip(*(values for _, values in told), strict=True)
    lines = [Line(label, times, list(side)) for label, side in zip(("candidate", "old version"), sides, strict=True)]
    counts = any("total" in numbers for _, numbers in found)
    return Chart(f"{name}: {'bad so far' if counts else 'mean'}", "ratio" if counts else "", lines)


def _sides(numbers: Mapping[str, Any]) -> tuple[float, float] | tuple[()]:
    if {"bad", "total", "bad_old", "total_old"} <= numbers.keys():
        pairs = ((numbers["bad"], numbers["total"]), (numbers["bad_old"], numbers["total_old"]))
        return tuple(bad / total if total else float("nan") for bad, total in pairs)  # type: ignore[return-value]
    return (numbers["here"], numbers["there"]) if {"here", "there"} <= numbers.keys() else ()


def _last(name: str, looks: Sequence[tuple[datetime, Mapping[str, Any]]]) -> tuple[str, str]:
    told = [look["evidence"]["metrics"][name] for _, look in looks if name in look["evidence"].get("metrics", {})]
    return str(told[-1]["answer"]), str(told[-1]["reason"])


def _row(power: Power, share: int, worth: float) -> tuple[Any, ...]:
    smallest = "none" if power.smallest is None else f"{power.smallest:.2g}x"
    needs = "never" if power.needs is None else format_duration(timedelta(seconds=round(power.needs.total_seconds())))
    return (
        power.metric,
        f"{share} %",
        f"{power.expected:.1f}",
        smallest,
        f"{needs} for {worth:g}x",
        "yes" if power.decides else "NO",
    )


def _undecided(power: Power, share: int, worth: float) -> Finding:
    needs = (
        "no time is enough"
        if power.needs is None
        else f"{format_duration(timedelta(minutes=1 + power.needs // timedelta(minutes=1)))} are needed"
    )
    within = format_duration(power.horizon)
    what = f"at {share} % a candidate as good as the old version is not likely to pass in {within}: {needs}"
    remedy = f"bake longer, begin at a greater share, or look only for a greater regression than {worth:g}x (worth)"
    return _finding(power.metric, what, remedy, "high")


def _finding(subject: str, what: str, remedy: str, severity: Any) -> Finding:
    return Finding(
        severity=severity, subject=subject, summary=what, proof="inferred", remedy=remedy, rule="undecidable"
    )
