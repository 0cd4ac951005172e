"""How a container's process ids grow, and when the lowest ceiling is reached: a chart with the forecast's band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sretoolkit.chart import Chart, Line, Threshold
from sretoolkit.config import Config
from sretoolkit.errors import HostError
from sretoolkit.hosts import Host, connect
from sretoolkit.pid1.ceilings import Ceiling
from sretoolkit.pid1.forecast import HOST, Forecast, Sample, earliest, forecast, foretold
from sretoolkit.pid1.growth import sample
from sretoolkit.pid1.look import How, Look, look
from sretoolkit.pid1.verdict import Subject
from sretoolkit.report import Finding, Report, Table

_HOST_SPAN = timedelta(minutes=1)  # a whole machine's processes come and go: less tells nothing of them
_COUNTS = 40  # while they are watched
_LEAST_PAUSE = timedelta(milliseconds=100)
_AHEAD = 4  # times as far as was looked back, at most


def outlook(
    host_name: str,
    container: str = "",
    *,
    every: timedelta = timedelta(seconds=1),
    count: int = 30,
    config: Config | None = None,
) -> Report:
    """Count process ids ``count`` times, ``every`` so often, and say when they run out, as an interval.

    Of one container with a chart, or of all that a host has. Reads only, in one command that takes ``count`` times
    ``every``. Raises `HostError` when the container is not seen, or its cgroup may not be read.
    """
    with connect(host_name, config) as host:
        found = look(host, ask="all")
        chosen = [found.named(container)] if container else [each for each in found.subjects if not each.init.root]
        wanted = [level.path for subject in chosen for level in subject.init.levels]
        if container and not wanted:
            hint = "is there a pids controller, and may its cgroup be read? look as root"
            raise HostError(f"{host_name}: the process ids of {container} cannot be counted", host=host_name, hint=hint)
        began = datetime.now(UTC)
        series = sample(host, found.machine, wanted, every=every, count=count)
    if every * count < _HOST_SPAN:
        series.pop(HOST, None)
    if container:
        return _of_one(found, chosen[0], series, began, every)
    return _of_all(found, chosen, series, every)


def watched(host: Host, how: How) -> Look:
    """A look, with what is foretold of all its process ids where they are to be watched; raises as `look` and `sample` do."""
    if not how.watch:
        return look(host, stop_signal=how.stop_signal)
    found = look(host, stop_signal=how.stop_signal, ask="all")
    chosen = [each for each in found.subjects if not each.init.root]
    wanted = [level.path for subject in chosen for level in subject.init.levels]
    every = max(_LEAST_PAUSE, how.watch / _COUNTS)
    series = sample(host, found.machine, wanted, every=every, count=round(how.watch / every) + 1)
    if how.watch < _HOST_SPAN:
        series.pop(HOST, None)
    told = [(subject, earliest(subject.init, found.machine, series)) for subject in chosen]
    rulings = [foretold(subject, *each) for subject, each in told if each]
    return replace(found, rulings=(*found.rulings, *(ruling for ruling in rulings if ruling)))


def _of_one(
    found: Look, subject: Subject, series: Mapping[str, Sequence[Sample]], began: datetime, every: timedelta
) -> Report:
    own = series.get(subject.init.levels[0].path, ())
    told = earliest(subject.init, found.machine, series)
    findings = [ruling.finding for ruling in found.about(subject.name) if ruling.finding.rule in _RULES]
    facts: dict[str, object] = {"counted": len(own), "every": f"{every.total_seconds():g} s"}
    title = f"Process ids of {subject.name} on {found.host}"
    if told is None:
        facts["ceiling"] = "none that is seen"
        return Report(title, findings, charts=[_chart(subject.name, own, began)], facts=facts)
    ceiling, seen = told
    facts |= {"lowest ceiling": str(ceiling), "runs out": str(seen)}
    if ceiling.path != subject.init.levels[0].path:
        facts["the container itself"] = str(forecast(own, ceiling.limit))
    ruling = foretold(subject, ceiling, seen)
    if ruling:
        findings.append(ruling.finding)
    elif not findings:
        findings.append(Finding(severity="info", subject=subject.name, summary=str(seen), rule="ids-outlook"))
    return Report(title, findings, charts=[_chart(subject.name, own, began, ceiling, seen)], facts=facts)


def _of_all(found: Look, chosen: Sequence[Subject], series: Mapping[str, Sequence[Sample]], every: timedelta) -> Report:
    findings, rows = [], []
    for subject in chosen:
        own = series.get(subject.init.levels[0].path, ()) if subject.init.levels else ()
        told = earliest(subject.init, found.machine, series)
        ruling = foretold(subject, *told) if told else None
        if ruling:
            findings.append(ruling.finding)
        ids = f"{own[0].count} → {own[-1].count}" if own else "unknown"
        rows.append((subject.name, ids, *((str(told[0]), str(told[1])) if told else ("none that is seen", "unknown"))))
    columns = ("container", "process ids", "lowest ceiling", "runs out")
    counted = max((len(one) for one in series.values()), default=0)
    facts = {"counted": counted, "every": f"{every.total_seconds():g} s"}
    return Report(f"Process ids on {found.host}", findings, [Table("", columns, rows)], facts=facts)


_RULES = ("ids-low", "ids-unlimited", "forks-failed")


def _chart(
    container: str,
    own: Sequence[Sample],
    began: datetime,
    ceiling: Ceiling | None = None,
    seen: Forecast | None = None,
) -> Chart:
    """What was counted, and from its last point on the three paces: soonest, likely, latest."""
    if not own:
        return Chart(f"process ids of {container}: nothing was counted")
    zero = began.timestamp() * 1000 - own[0].at * 1000
    last = own[-1]
    lines = [Line("process ids", [zero + one.at * 1000 for one in own], [float(one.count) for one in own])]
    thresholds = [Threshold(float(ceiling.limit), ceiling.name)] if ceiling else []
    if ceiling and seen and seen.slope and seen.likely is not None:
        ahead = min(seen.likely.total_seconds(), _AHEAD * max(1.0, last.at - own[0].at))
        for word, slope in zip(("latest", "likely", "soonest"), seen.slope, strict=True):
            reach = min(ahead, (ceiling.limit - last.count) / slope) if slope > 0 else ahead
            times = [zero + last.at * 1000, zero + (last.at + reach) * 1000]
            lines.append(Line(word, times, [float(last.count), last.count + slope * reach]))
    elif ceiling and last.count < ceiling.limit / 4:
        thresholds = []  # far away: the picture is of what moves
    return Chart(f"process ids of {container}", "", lines, thresholds=thresholds)
