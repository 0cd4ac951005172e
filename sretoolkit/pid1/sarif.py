"""Sightings as SARIF 2.1.0, for code scanning in a forge.

Source: docs.oasis-open.org/sarif/sarif/v2.1.0 (sections 3.13 to 3.30).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sretoolkit.pid1.sighting import Sighting
from sretoolkit.report import Severity, plain

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Mapping[Severity, str] = {
    "critical": "error",
    "high": "error",
    "medium": "warning",
    "low": "note",
    "info": "note",
}
_SCORES: Mapping[Severity, str] = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.0"}
RULES: Mapping[str, str] = {
    "blind": "What cannot be known from here",
    "forks-failed": "Forks have failed at a limit of process ids",
    "grace-none": "No time to stop",
    "host-ids-low": "The host runs out of process ids",
    "host-unanswered": "A host did not answer",
    "ids-bursts": "Process ids are used in bursts",
    "ids-exhausted-soon": "Process ids run out soon",
    "ids-low": "Few process ids are left",
    "ids-outlook": "When process ids run out",
    "ids-unlimited": "Nothing limits the process ids",
    "init-useless": "An init that is not PID 1",
    "reaping-latent": "Orphans would stay as zombies",
    "stop-blocked": "The stop signal is blocked",
    "stop-cut-off": "The program is killed while it shuts down",
    "stop-deferred": "The stop signal is handled too late",
    "stop-dropped": "The kernel drops the stop signal",
    "stop-ignored": "The stop signal is ignored",
    "stop-killed": "The stop signal does not stop it, or leaves it no time",
    "stop-not-passed-on": "The program is not told of the stop signal",
    "stop-observed": "It was killed when it last ended",
    "stop-signal-invalid": "The stop signal is none",
    "stop-uncertain": "The stop signal may not stop it",
    "suppression-expired": "A suppression has expired",
    "suppression-unused": "A suppression matches nothing",
    "zombies-of-app": "Zombies of the application",
    "zombies-of-init": "Zombies of the first process",
    "zombies-of-runtime": "Zombies of the container runtime",
}


def sarif(sightings: Iterable[Sighting], *, suppressed: Iterable[tuple[Sighting, str]] = ()) -> dict[str, Any]:
    """A SARIF log of one run; ``suppressed`` ones are in it with the reason, as the format wants it."""
    from importlib.metadata import version

    active = [(sighting, "") for sighting in sightings]
    every = [*active, *suppressed]
    names = sorted({sighting.finding.rule for sighting, _ in every})
    driver = {
        "name": "sretoolkit pid1",
        "version": version("sretoolkit"),
        "rules": [_rule(name, [each for each, _ in every if each.finding.rule == name]) for name in names],
    }
    results = [_result(sighting, reason, names) for sighting, reason in every]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(name: str, seen: list[Sighting]) -> dict[str, Any]:
    worst = min((each.finding.severity for each in seen), key=list(_LEVELS).index)
    return {
        "id": name,
        "shortDescription": {"text": RULES.get(name, name)},
        "defaultConfiguration": {"level": _LEVELS[worst]},
        "properties": {"security-severity": _SCORES[worst], "tags": ["containers", "reliability"]},
    }


def _result(sighting: Sighting, reason: str, names: list[str]) -> dict[str, Any]:
    finding = sighting.finding
    parts = [
        f"{finding.subject}: {finding.summary}",
        finding.evidence,
        f"Remedy: {finding.remedy}" if finding.remedy else "",
    ]
    found: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": "\n".join(_lines(part) for part in parts if part)},
        "locations": [_location(sighting)],
        "partialFingerprints": {
            "sretoolkitKey/v1": sha256("\0".join(sighting.key).encode("utf-8", "backslashreplace")).hexdigest()
        },
        "properties": {"severity": finding.severity, "proof": finding.proof, "image": plain(sighting.image)},
    }
    if reason:
        found["suppressions"] = [{"kind": "external", "justification": plain(reason)}]
    return found


def _location(sighting: Sighting) -> dict[str, Any]:
    """A line in a file, or the name of what runs."""
    if not sighting.path:
        name = "/".join(part for part in (sighting.host, sighting.container) if part) or sighting.finding.subject
        return {"logicalLocations": [{"fullyQualifiedName": plain(name), "kind": "resource"}]}
    path = Path(sighting.path)
    uri = path.absolute().as_uri() if path.is_absolute() else quote(path.as_posix())
    region = {"startLine": max(1, sighting.line)}
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}


def _lines(text: str) -> str:
    return "\n".join(plain(line) for line in text.splitlines())
