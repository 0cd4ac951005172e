"""Two scans compared: new, gone, still there, and what cannot be told because it was not looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sretoolkit.errors import ConfigError
from sretoolkit.pid1.sighting import Sighting
from sretoolkit.pid1.survey import Survey
from sretoolkit.report import SEVERITIES, Table

_ROWS = 100


@dataclass(frozen=True)
class Comparison:
    """``first``: seen now where nothing was looked at before; ``unknown``: seen before where nobody answers now."""

    since: datetime
    new: tuple[Sighting, ...]
    gone: tuple[Sighting, ...]
    still: tuple[Sighting, ...]
    first: tuple[Sighting, ...]
    unknown: tuple[Sighting, ...]

    @property
    def facts(self) -> dict[str, object]:
        """The counts."""
        counts: dict[str, object] = {"new": len(self.new), "gone": len(self.gone), "still there": len(self.still)}
        if self.first:
            counts["first look"] = len(self.first)
        if self.unknown:
            counts["not known"] = len(self.unknown)
        return counts

    @property
    def table(self) -> Table:
        """What changed, and what cannot be told."""
        parts = {
            "new": self.new,
            "gone": self.gone,
            "not known: not looked at now": self.unknown,
            "first look": self.first,
        }
        rows = [
            (word, each.finding.severity, each.finding.rule, each.name, each.finding.summary)
            for word, part in parts.items()
            for each in sorted(part, key=lambda each: SEVERITIES.index(each.finding.severity))
        ]
        left = [("", "", "", f"and {len(rows) - _ROWS} more", "")] if len(rows) > _ROWS else []
        title = f"since {self.since.isoformat(timespec='seconds')}"
        return Table(title, ("", "severity", "rule", "subject", "what"), [*rows[:_ROWS], *left])


def compare(before: Survey, now: Survey) -> Comparison:
    """By rule, place and subject; what is suppressed counts as seen."""
    earlier = {each.key: each for each in before.seen if _compared(each)}
    later = {each.key: each for each in now.seen if _compared(each)}
    appeared = [each for key, each in later.items() if key not in earlier]
    left = [each for key, each in earlier.items() if key not in later]
    return Comparison(
        before.at,
        new=_only(appeared, before, looked=True),
        gone=_only(left, now, looked=True),
        still=tuple(each for key, each in later.items() if key in earlier),
        first=_only(appeared, before, looked=False),
        unknown=_only(left, now, looked=False),
    )


def load(path: Path) -> Survey:
    """A scan that was saved with ``--json``; raises `ConfigError` when it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        hint = "save one with sretoolkit pid1 ... --json > FILE"
        raise ConfigError(f"{path} cannot be read as a scan: {error}", hint=hint) from error
    return Survey.from_dict(data.get("scan") if isinstance(data, dict) else None)


def _compared(sighting: Sighting) -> bool:
    """What is said of suppressions is about today's file, not about what was seen."""
    return not sighting.finding.rule.startswith("suppression-")


def _only(sightings: Sequence[Sighting], other: Survey, *, looked: bool) -> tuple[Sighting, ...]:
    return tuple(each for each in sightings if _looked_at(each, other) is looked)


def _looked_at(sighting: Sighting, survey: Survey) -> bool:
    """Whether the other scan would have seen it, had it been there; that a host answers or not is seen in any case."""
    if sighting.path:
        return sighting.path in survey.files
    if sighting.finding.rule == "host-unanswered":
        return sighting.host in survey.hosts
    return sighting.host in survey.hosts and sighting.host not in survey.missing
