"""A scan as one report: worst first, and what one fix closes is one finding."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.since import Comparison
from sretoolkit.pid1.survey import Survey
from sretoolkit.report import SEVERITIES, Finding, Report, Table

_NAMED = 4  # subjects that a grouped finding names
_NUMBER = re.compile(r"\d+")
_ROWS = 40  # of a table; the rest is counted
_COLUMNS = (
    "pid",
    "container",
    "first process",
    "kind",
    "stop signal",
    "reaps orphans",
    "its zombies",
    "others' zombies",
    "process ids",
)


def report(survey: Survey, title: str, *, compared: Comparison | None = None) -> Report:
    """One host is shown container by container, a fleet by image and by host."""
    many = len(survey.hosts) > 1 or any(host.startswith("kubernetes:") for host in survey.hosts)
    rows = survey.containers
    facts: dict[str, object] = {}
    if survey.files:
        facts["files"] = len(survey.files)
    if many:
        facts |= {"hosts": len(survey.hosts), "not answered": len(survey.missing)}
    if survey.hosts:
        facts["namespaces"] = sum(not row.root for row in rows)
        facts["zombies that stayed"] = survey.strays + sum(row.zombies + row.zombies_of_others for row in rows)
        facts["containers known"] = sum(bool(row.name) for row in rows)
        told = sorted({each for each in survey.hosts.values() if each})
        facts["looked as"] = ", ".join(told[:_NAMED]) or "nobody"
    if survey.suppressed:
        facts["suppressed"] = len(survey.suppressed)
    tables = [_by_image(survey), _by_host(survey)] if many else [_by_container(survey)] if rows else []
    if compared is not None:
        facts |= compared.facts
        tables.append(compared.table)
    if survey.suppressed:
        shown = [(each.finding.rule, each.name, why) for each, why in survey.suppressed]
        tables.append(Table("suppressed", ("rule", "subject", "why"), _short(shown, 3)))
    return Report(title, grouped(survey.active, by_image=many), [table for table in tables if table.rows], facts=facts)


def grouped(sightings: Iterable[Sighting], *, by_image: bool) -> list[Finding]:
    """One finding for the same thing said of many containers: of one image on any host, or all those of one host."""
    groups: dict[tuple[str, ...], list[Sighting]] = defaultdict(list)
    for sighting in sorted(sightings, key=lambda each: SEVERITIES.index(each.finding.severity)):
        groups[_key(sighting, by_image)].append(sighting)
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    return [_merged(group, by_image) for group in ordered]


def _key(sighting: Sighting, by_image: bool) -> tuple[str, ...]:
    finding = sighting.finding
    if finding.rule == "host-unanswered":
        return (finding.rule,)
    if sighting.path:
        return (finding.rule, sighting.path, str(sighting.line), finding.subject, finding.summary)
    if by_image and sighting.image:
        return (finding.rule, sighting.image, sighting.owner)
    # Counts and pids differ, the fault is the same.
    return (finding.rule, finding.severity, _NUMBER.sub("#", finding.summary))


def _merged(group: list[Sighting], many: bool) -> Finding:
    first = group[0].finding
    if len(group) == 1:
        return replace(first, subject=group[0].name if many else first.subject)
    evidence = list(dict.fromkeys(each.finding.evidence for each in group if each.finding.evidence))
    shown = "; ".join(evidence[:2]) + (f"; and {len(evidence) - 2} more" if len(evidence) > 2 else "")
    proof = next((each.finding.proof for each in group if each.finding.proof != "certain"), first.proof)
    remedies = {each.finding.remedy for each in group}
    remedy = first.remedy if len(remedies) == 1 else f"{first.remedy} (and so for each)"
    same = len({each.finding.summary for each in group}) == 1
    summary = first.summary if same else f"{first.summary}, and the like"
    return replace(first, subject=_subjects(group, many), summary=summary, evidence=shown, proof=proof, remedy=remedy)


def _subjects(group: list[Sighting], many: bool) -> str:
    names = list(dict.fromkeys(each.name if many else each.finding.subject for each in group))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    listed = ", ".join(names[:_NAMED]) + more
    hosts, image = {each.host for each in group}, group[0].image
    if group[0].finding.rule == "host-unanswered":
        return f"{len(hosts)} hosts ({listed})"
    if len(hosts) < 2:
        return listed
    what = f"{image or 'no known image'}{f' of {group[0].owner}' if group[0].owner else ''}"
    return f"{what}: {len(names)} containers on {len(hosts)} hosts ({listed})"


def _by_container(survey: Survey) -> Table:
    """Each in the order of pids; when there are too many, those with the worst findings."""
    rows = survey.containers
    if len(rows) > _ROWS:
        worst: dict[str, int] = {}
        for sighting in survey.active:
            place = SEVERITIES.index(sighting.finding.severity)
            worst[sighting.container] = min(place, worst.get(sighting.container, place))
        rows = tuple(sorted(rows, key=lambda row: (worst.get(row.name or row.program, len(SEVERITIES)), row.pid)))
    cells = [
        (row.pid, row.name, row.process, row.kind, row.stop, row.reaps, row.zombies, row.zombies_of_others, row.ids)
        for row in rows
    ]
    return Table("", _COLUMNS, _short(cells, len(_COLUMNS)))


def _by_image(survey: Survey) -> Table:
    """Each image with what is wrong with it, the worst first."""
    seen: dict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for sighting in survey.active:
        if sighting.image and sighting.host:
            seen[sighting.image, sighting.owner].append(sighting)
    running = Counter((row.image, row.owner) for row in survey.containers if row.image)
    rows = []
    for (image, owner), group in seen.items():
        worst = min((each.finding.severity for each in group), key=SEVERITIES.index)
        rules = ", ".join(sorted({each.finding.rule for each in group}))
        hosts = len({each.host for each in group})
        count = running[image, owner] or len({(each.host, each.container) for each in group})
        rows.append((SEVERITIES.index(worst), (image, owner, worst, count, hosts, rules)))
    rows.sort(key=lambda row: (row[0], -row[1][3]))
    cells = _short([row for _, row in rows], 6)
    return Table("by image", ("image", "owner", "worst", "containers", "hosts with findings", "rules"), cells)


def _by_host(survey: Survey) -> Table:
    found: dict[str, Counter[str]] = {host: Counter() for host in survey.hosts}
    for sighting in survey.active:
        if sighting.host in found:
            found[sighting.host][sighting.finding.severity] += 1
    namespaces = Counter(row.host for row in survey.containers if not row.root)
    order = sorted(found, key=lambda host: [-found[host][severity] for severity in SEVERITIES])
    rows = [
        (host, "did not answer", "", "", "", "")
        if host in survey.missing
        else (host, survey.hosts[host], namespaces[host], *(found[host][severity] for severity in SEVERITIES[:3]))
        for host in order
    ]
    return Table("by host", ("host", "looked as", "namespaces", "critical", "high", "medium"), _short(rows, 6))


def _short(rows: Sequence[tuple[object, ...]], width: int) -> list[tuple[object, ...]]:
    if len(rows) <= _ROWS:
        return list(rows)
    return [*rows[:_ROWS], (f"and {len(rows) - _ROWS} more", *[""] * (width - 1))]
